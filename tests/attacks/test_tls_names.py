"""A certificate is one name: whoever uses another one, or is not on the list, is refused and learns nothing."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

from structlog.testing import capture_logs

from common.wire.messages import Bye, Ping, Pong, Welcome
from tests.attacks.attacker import attack, guarded_cloud, loose_context, only_refusal
from tests.certificates import contexts, files
from tests.cloud_daemon.edge import Cloud, Edge, hello
from tests.event_loop import run, until


async def certified(rack: Cloud, name: str) -> Edge:
    """Connect as the edge `name`, and be greeted."""
    edge = Edge()
    loop = asyncio.get_running_loop()
    await loop.create_connection(
        lambda: edge.channel,
        rack.address.host,
        rack.address.port,
        ssl=contexts(name)[1],
        server_hostname="127.0.0.1",
        ssl_shutdown_timeout=1.0,
    )
    rack.edges.append(edge)
    edge.say(hello(edge=name))
    await edge.hears(Welcome)
    return edge


def of(tmp_path: Path, name: str) -> ssl.SSLContext:
    return loose_context(files(tmp_path / f"certificate of {name}", name))


def test_a_valid_edge_cannot_call_itself_otherwise(tmp_path: Path) -> None:
    """The refusal shows both names, which the attacker knew; nothing else that it asked for is answered."""

    async def main() -> None:
        async with guarded_cloud(tmp_path) as rack:
            with capture_logs() as logged:
                spoils = await attack(rack.address, of(tmp_path, "shed"), greeting=hello(edge="porch"))
            refused = only_refusal(spoils.heard)
            assert refused.kind == "access"
            assert refused.reason == "the edge calls itself porch, and its certificate is shed's"
            (entry,) = [line for line in logged if line["event"] == "edge refused"]
            assert entry["edge"] == "shed", "the log has the name that is proven"
            assert not rack.server.sessions

    run(main())


def test_a_valid_edge_that_is_not_on_the_list_is_refused(tmp_path: Path) -> None:
    """Though its certificate is good; those on the list are let in."""

    async def main() -> None:
        async with guarded_cloud(tmp_path, allow="porch, attic") as rack:
            spoils = await attack(rack.address, of(tmp_path, "shed"), greeting=hello(edge="shed"))
            refused = only_refusal(spoils.heard)
            assert (refused.kind, refused.reason) == ("access", "shed is not on this cloud's list of edges")
            assert not rack.server.sessions
            await certified(rack, "porch")
            await certified(rack, "attic")

    run(main())


def test_an_empty_list_lets_nobody_in(tmp_path: Path) -> None:
    """A file without a name is a list, and not the absence of one."""
    (tmp_path / "allowed").write_text("# nobody yet\n")

    async def main() -> None:
        async with guarded_cloud(tmp_path, allow=f"@{tmp_path / 'allowed'}") as rack:
            spoils = await attack(rack.address, of(tmp_path, "porch"))
            assert only_refusal(spoils.heard).kind == "access"

    run(main())


def test_an_edge_that_is_taken_off_the_list_is_sent_away_at_once(tmp_path: Path) -> None:
    """On reload: its session ends, others go on, and it does not get in again."""
    allowed = tmp_path / "allowed"
    allowed.write_text("porch\nshed  # borrowed\n")

    async def main() -> None:
        async with guarded_cloud(tmp_path, allow=f"@{allowed}") as rack:
            porch, shed = await certified(rack, "porch"), await certified(rack, "shed")
            allowed.write_text("porch\n")
            rack.server.reload()
            assert "no longer allowed" in (await shed.hears(Bye)).reason
            await shed.ended
            porch.say(Ping(number=1))
            await porch.hears(Pong)
            spoils = await attack(rack.address, of(tmp_path, "shed"), greeting=hello(edge="shed"))
            assert only_refusal(spoils.heard).kind == "access"
            allowed.unlink()
            rack.server.reload()  # cannot be read: the list from before stays
            assert rack.server.allowed == frozenset({"porch"})
            await until(lambda: len(rack.server.sessions) == 1)

    run(main())
