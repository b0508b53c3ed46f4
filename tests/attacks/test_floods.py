"""Attacks by those who have not shaken hands: sockets and slowness."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from common import limits
from common.wire import transport
from tests.attacks.house import house
from tests.cloud_daemon.edge import hello
from tests.common.wire.samples import packed
from tests.event_loop import run, until


def test_slowloris(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Hello whose bytes come one by one, each in good time, for ever.

    Answer: the handshake as a whole has 5 s; whoever needs longer is closed, however busily it dribbles.
    """
    monkeypatch.setattr(limits, "HANDSHAKE_TIMEOUT_S", 0.2)
    monkeypatch.setattr(transport, "TICK_S", 0.01)

    async def main() -> None:
        async with house(tmp_path / "state") as under:
            attacker = await under.attacker(greeted=False)
            closed = asyncio.create_task(attacker.is_cut_off())
            for octet in packed(hello())[:-1]:
                if closed.done():
                    break
                attacker.sends(bytes([octet]))
                await asyncio.sleep(0.005)  # the dribbling itself: it would take 1.5 s
            assert await closed == []
            assert "no handshake within 0.2 s" in under.last_word["reason"]

    run(main())


def test_the_limit_on_the_handshake() -> None:
    """The limit that `test_slowloris` shortens is the one that the protocol promises."""
    assert limits.HANDSHAKE_TIMEOUT_S == 5.0


def test_a_flood_of_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hundred connections that say nothing, held open.

    Answer: sixteen may be without a handshake; each further one closes the oldest. Edges that are connected notice
    nothing, and a new edge, which greets at once, gets in.
    """
    monkeypatch.setattr(limits, "HANDSHAKE_TIMEOUT_S", 1e9)  # no help from there

    async def main() -> None:
        async with house(tmp_path / "state") as under:
            flood = []
            for _ in range(200):
                flood.append(await under.attacker(greeted=False))
                assert len(under.rack.server._greeting) <= limits.MAX_GREETING_CONNECTIONS
            await asyncio.gather(*(attacker.is_cut_off() for attacker in flood[:-16]))
            await under.serves_on()
            edge = await under.rack.greeted(edge="late")
            assert (await edge.prepares()).ready
            edge.channel.abort()
            await edge.ended

    run(main())


def test_connections_that_break_amid_anything(tmp_path: Path) -> None:
    """A hundred connections that are reset after so many bytes of a session.

    Answer: each is gone with all that it held: tasks, frames, descriptors.
    """

    async def main() -> None:
        async with house(tmp_path / "state") as under:
            session = packed(hello()) + b"CLV1"
            for size in range(0, len(session), 3):
                attacker = await under.attacker(greeted=False)
                attacker.sends(session[:size])
                await attacker.writer.drain()
                attacker.leave()
            await until(lambda: len(under.rack.server.sessions) == 1)

    run(main())


def test_hello_and_nothing_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions that fall silent after the handshake.

    Answer: after 5 s of silence (an edge pings each second) the session is closed.
    """
    assert limits.DEAD_AFTER_S == 5.0

    async def main() -> None:
        async with house(tmp_path / "state") as under:
            attackers = [await under.attacker() for _ in range(20)]
            assert len(under.rack.server.sessions) == 21
            monkeypatch.setattr(limits, "DEAD_AFTER_S", 0.2)
            monkeypatch.setattr(limits, "PING_INTERVAL_S", 0.02)
            await asyncio.gather(*(attacker.is_cut_off() for attacker in attackers))
            assert len(under.rack.server.sessions) == 1

    run(main())
