"""Facts about one visit to the cloud: the first step that fails is told, with what mends it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from common.config import Address
from common.doctor.finding import Verdict
from common.tls.contexts import cloud_context
from common.wire.messages import Refused
from edge_daemon.cloud_contact import CloudSeen, check_cloud, visit_cloud
from tests.certificates import contexts, files, rack
from tests.edge_daemon.fake_cloud import HELLO, FakeCloud, FakeSession
from tests.event_loop import run

Visit = Callable[[Address], Coroutine[Any, Any, CloudSeen]]


def visited(visit: Visit, cloud: FakeCloud, context: ssl.SSLContext | None = None) -> CloudSeen:
    """Visit a cloud that listens with `context`."""
    seen: list[CloudSeen] = []

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(
            lambda: FakeSession(cloud).channel, "127.0.0.1", 0, ssl=context
        )
        async with server:
            address = Address(host="127.0.0.1", port=server.sockets[0].getsockname()[1])
            seen.append(await visit_cloud_within(visit, address))
            for session in cloud.sessions:
                session.channel.abort()

    run(main(), "asyncio")
    return seen[0]


async def visit_cloud_within(visit: Visit, address: Address) -> CloudSeen:
    async with asyncio.timeout(20):
        return await visit(address)


def judged(seen: CloudSeen) -> tuple[str, str, str]:
    """Step, finding and cure of what is wrong; exactly one thing is."""
    (bad,) = [finding for finding in check_cloud(seen) if finding.cure]
    assert bad.verdict is Verdict.FAIL
    return bad.what, bad.said, bad.cure


def test_a_cloud_that_greets_is_well() -> None:
    """With the same model; and that the channel is open to all is said."""
    seen = visited(lambda address: visit_cloud(address, None, HELLO), FakeCloud())
    reached, greeted = check_cloud(seen)
    assert reached.verdict is greeted.verdict is Verdict.OK
    assert greeted.said == "rack (a GPU) holds the same model; INSECURE"


def test_so_is_one_under_tls() -> None:
    """Both prove who they are."""
    of_cloud, of_edge = contexts()
    seen = visited(lambda address: visit_cloud(address, of_edge, HELLO), FakeCloud(), of_cloud)
    assert check_cloud(seen)[1].said.endswith("TLS 1.3")


def test_without_a_model_of_our_own_the_visit_ends_before_the_greeting() -> None:
    """There is nothing to compare; what was reached is told."""
    seen = visited(lambda address: visit_cloud(address, None, None), FakeCloud())
    assert [finding.what for finding in check_cloud(seen)] == ["cloud"]


@pytest.mark.parametrize(
    ("refusal", "cure"),
    [
        (Refused(kind="model", reason="edge and cloud hold different models"), "same CLEAVE_MODEL"),
        (Refused(kind="protocol", reason="the edge speaks protocol 9"), "same version"),
        (Refused(kind="access", reason="porch is not on the list"), "CLEAVE_CLOUD_ALLOW"),
        (Refused(kind="busy", reason="no place"), "later"),
    ],
)
def test_each_refusal_has_its_cure(refusal: Refused, cure: str) -> None:
    """The reason is the cloud's own."""
    cloud = FakeCloud()
    cloud.refusal = refusal
    what, said, mend = judged(visited(lambda address: visit_cloud(address, None, HELLO), cloud))
    assert (what, said) == ("greeting", refusal.reason)
    assert cure in mend


def test_nobody_at_the_port() -> None:
    """Refused by the machine: the daemon does not run there, or listens on its loopback only."""
    seen: list[CloudSeen] = []

    async def main() -> None:
        seen.append(await visit_cloud(Address(host="127.0.0.1", port=1), None, HELLO))

    run(main(), "asyncio")
    what, said, mend = judged(seen[0])
    assert what == "cloud"
    assert "connection refused" in said
    assert "open port 1 " in mend


def test_a_name_without_an_address() -> None:
    """A typo, or no DNS."""
    seen: list[CloudSeen] = []

    async def main() -> None:
        seen.append(await visit_cloud(Address(host="no-such-host.invalid", port=1), None, HELLO))

    run(main(), "asyncio")
    _, said, mend = judged(seen[0])
    assert "no-such-host.invalid has no address" in said
    assert "CLEAVE_EDGE_CLOUD" in mend


def test_a_cloud_that_speaks_no_tls() -> None:
    """The edge has certificates, the cloud has not."""
    _, of_edge = contexts()
    what, _, mend = judged(visited(lambda address: visit_cloud(address, of_edge, HELLO), FakeCloud()))
    assert what == "TLS"
    assert "pki show" in mend


def test_a_cloud_whose_certificate_is_for_another_host(tmp_path: Path) -> None:
    """The cure names the host that was asked for."""
    _, of_edge = contexts()
    elsewhere = cloud_context(rack(tmp_path, "server.example"))
    what, said, mend = judged(
        visited(lambda address: visit_cloud(address, of_edge, HELLO), FakeCloud(), elsewhere)
    )
    assert what == "TLS"
    assert "not for 127.0.0.1" in said
    assert "--host 127.0.0.1" in mend


def test_a_cloud_that_wants_a_certificate_of_an_edge_that_has_none(tmp_path: Path) -> None:
    """Plain bytes to a TLS port: the cloud closes, and the likely reason is told."""
    of_cloud, _ = contexts()
    assert files(tmp_path, "porch").check().for_edge
    what, _, mend = judged(visited(lambda address: visit_cloud(address, None, HELLO), FakeCloud(), of_cloud))
    assert what == "greeting"
    assert "one side has certificates and the other none" in mend.replace("\n", " ")


@pytest.mark.parametrize("first_answers", [False, True])
def test_every_address_of_a_name_is_tried(monkeypatch: pytest.MonkeyPatch, first_answers: bool) -> None:
    """As the daemon does: `localhost` may mean ::1 first, where nobody listens."""

    def resolved(port: int) -> list[Any]:
        places = [("127.0.0.1", port)] if first_answers else [("127.0.0.2", port), ("127.0.0.1", port)]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place) for place in places]

    async def visit(address: Address) -> CloudSeen:
        async def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
            return (
                resolved(port)
                if host == "rack"
                else [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]
            )

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
        return await visit_cloud(Address(host="rack", port=address.port), None, HELLO)

    seen = visited(visit, FakeCloud())
    assert all(finding.verdict is Verdict.OK for finding in check_cloud(seen))
    assert seen.tcp_error == ""
    assert seen.tcp_ms is not None
