"""One visit to the cloud, step by step: its name, its port, TLS, the greeting. It tells why there is no link."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from common import limits
from common.config import Address
from common.doctor.finding import Finding, fail, ok
from common.errors import LinkError
from common.tls.explain import why_the_cloud_failed
from common.wire.connection import Received, Role
from common.wire.messages import Bye, Hello, Refused, Welcome
from common.wire.transport import Channel

CONNECT_S = limits.CONNECT_TIMEOUT_S + limits.HANDSHAKE_TIMEOUT_S


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudSeen:
    """How far a visit came. Each step that was reached has its time or its error; after an error none was tried.

    `refused` is the kind of refusal (`model`, `protocol`, `busy`, `access`), its reason is in `greeting_error`.
    """

    address: Address
    name_error: str = ""
    tcp_error: str = ""
    tcp_ms: float | None = None
    tls: bool = False
    tls_error: str = ""
    greeting_error: str = ""
    refused: str = ""
    welcome: Welcome | None = None


class _Visitor:
    """Hears the cloud's first word."""

    def __init__(self) -> None:
        self.word: asyncio.Future[Welcome | Refused | str] = asyncio.get_running_loop().create_future()

    def heard(self, event: Received) -> None:
        if not self.word.done() and isinstance(event.message, Welcome | Refused | Bye):
            self.word.set_result(
                event.message if not isinstance(event.message, Bye) else event.message.reason
            )

    def closed(self, error: LinkError | None) -> None:
        if not self.word.done():
            self.word.set_result(
                str(error) if error else "the cloud ended the connection before any greeting"
            )


async def visit_cloud(address: Address, context: ssl.SSLContext | None, hello: Hello | None) -> CloudSeen:
    """Connect, speak TLS if there is a context, greet if there is a greeting; leave again."""
    seen = CloudSeen(address=address, tls=context is not None)
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return replace(seen, name_error=str(error))
    for *_, place in found:  # the first that answers, as the daemon does
        host, port = str(place[0]), int(place[1])
        begun = time.perf_counter()
        try:
            async with asyncio.timeout(limits.CONNECT_TIMEOUT_S):
                _, writer = await asyncio.open_connection(host, port)
        except (OSError, TimeoutError) as error:
            late = f"no answer within {limits.CONNECT_TIMEOUT_S:g} s"
            reason = os.strerror(error.errno).lower() if error.errno else late
            seen = replace(seen, tcp_error=reason)
            continue
        seen = replace(seen, tcp_ms=(time.perf_counter() - begun) * 1e3, tcp_error="")
        writer.close()
        return await _greet(seen, (host, port), context, hello)
    return seen


async def _greet(
    seen: CloudSeen, place: tuple[str, int], context: ssl.SSLContext | None, hello: Hello | None
) -> CloudSeen:
    visitor = _Visitor()
    channel = Channel(Role.EDGE, visitor)
    secure: dict[str, Any] = (
        {"ssl": context, "server_hostname": seen.address.host} if context is not None else {}
    )
    try:
        async with asyncio.timeout(CONNECT_S):
            await asyncio.get_running_loop().create_connection(lambda: channel, *place, **secure)
    except (OSError, TimeoutError) as error:
        reason = (
            why_the_cloud_failed(error, seen.address.host) or str(error) or "it did not finish the handshake"
        )
        return replace(seen, tls_error=reason)
    try:
        if hello is None:
            return seen
        channel.send(hello)
        async with asyncio.timeout(limits.HANDSHAKE_TIMEOUT_S):
            word = await visitor.word
    except (LinkError, TimeoutError) as error:
        return replace(seen, greeting_error=str(error) or "the cloud does not greet")
    finally:
        channel.abort()
    match word:
        case Welcome():
            return replace(seen, welcome=word)
        case Refused(kind=kind, reason=reason):
            return replace(seen, refused=kind, greeting_error=reason)
    return replace(seen, greeting_error=word)


REFUSALS = {
    "model": "give both sides the same CLEAVE_MODEL, CLEAVE_WEIGHTS and torchvision, and restart them",
    "protocol": "install the same version of Cleave on both sides",
    "access": "on the cloud: add this edge's name to CLEAVE_CLOUD_ALLOW's list, and systemctl reload cleave-cloud",
    "busy": "the cloud has no place for another edge now: try again later",
}


def check_cloud(seen: CloudSeen) -> list[Finding]:
    """Judge a visit: the first step that failed, and what mends it."""
    address = seen.address
    if seen.name_error:
        return [
            fail(
                "cloud",
                f"the name {address.host} has no address ({seen.name_error})",
                "correct CLEAVE_EDGE_CLOUD, or add the name to DNS or /etc/hosts",
            )
        ]
    if seen.tcp_error:
        return [
            fail(
                "cloud",
                f"nobody answers at {address} ({seen.tcp_error}); frames go on at the edge alone",
                f"on the cloud: systemctl status cleave-cloud; open port {address.port} in the firewalls; "
                "CLEAVE_CLOUD_LISTEN must not be 127.0.0.1 there",
            )
        ]
    reached = ok("cloud", f"{address} answers in {seen.tcp_ms:.1f} ms")
    step = _check_tls(seen) or _check_greeting(seen)
    return [reached, step] if step is not None else [reached]


def _check_tls(seen: CloudSeen) -> Finding | None:
    if not seen.tls_error:
        return None
    return fail(
        "TLS",
        seen.tls_error,
        "compare both certificates (cleave-cloud pki show DIR on each side): one authority, the cloud's with --cloud "
        f"and --host {seen.address.host}, both valid now",
    )


def _check_greeting(seen: CloudSeen) -> Finding | None:
    if seen.welcome is not None:
        how = "TLS 1.3" if seen.tls else "INSECURE"
        return ok("greeting", f"{seen.welcome.cloud} ({seen.welcome.device}) holds the same model; {how}")
    if seen.refused:
        return fail("greeting", seen.greeting_error, REFUSALS[seen.refused])
    if seen.greeting_error:
        return fail(
            "greeting",
            seen.greeting_error,
            "the cloud's log says why (journalctl -u cleave-cloud); most often one side has certificates and the "
            "other none, or they are of another authority",
        )
    return None


def visit(
    address: Address, make_context: Callable[[], ssl.SSLContext | None], hello: Hello | None
) -> CloudSeen:
    """Visit the cloud from a command, which has no event loop."""
    return asyncio.run(visit_cloud(address, make_context(), hello))
