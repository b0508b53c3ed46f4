"""Facts about pings: they measure the link, apart from frames and their pace."""

from __future__ import annotations

import socket
import struct
import sys

import pytest

from common import limits
from common.wire.messages import (
    Infer,
    Ping,
)
from common.wire.socket_pace import SO_MAX_PACING_RATE
from common.wire.transport import Channel
from tests.edge_daemon.fake_cloud import (
    answer_to,
    connected,
    hurry,
    infer,
    of,
)
from tests.event_loop import run, until


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


def test_a_long_ping_measures_the_bandwidth() -> None:
    """It carries a payload, its pong tells how that arrived, and its round trip does not count as the link's."""

    async def main() -> None:
        async with connected() as (cloud, line_, heard):
            await line_.probe_by_ping()
            pings = [e for e in cloud.session.received if isinstance(e.message, Ping) and e.payload.nbytes]
            assert [event.payload.nbytes for event in pings] == [limits.CHANNEL_PROBE_BYTES]
            assert [(sample.origin, sample.bps) for sample in heard.samples] == [("ping", 40e6)]
            before = len(heard.round_trips)
            await until(lambda: len(heard.round_trips) > before)  # the small pings' do

    run(main())


def test_a_ping_measures_when_what_was_sent_before_it_has_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame whose end is sent again holds up what is behind it, which then comes at once, as on an endless link."""
    monkeypatch.setattr(limits, "PING_INTERVAL_S", 100.0)  # or there are others

    async def main() -> None:
        async with connected() as (cloud, line_, _):
            await line_.probe_by_ping(0)  # the one that follows a greeting has arrived then

            async def payloads(nbytes: int) -> list[int]:
                before = len(cloud.session.received)
                await line_.probe_by_ping(nbytes)
                pings = [e for e in cloud.session.received[before:] if isinstance(e.message, Ping)]
                return [len(event.payload) for event in pings]

            assert await payloads(1000) == [1000]
            monkeypatch.setattr(Channel, "outstanding_bytes", property(lambda _: 100_000))
            assert await payloads(1000) == [0, 1000]

    run(main())


@pytest.mark.skipif(sys.platform != "linux", reason="an option of Linux")
def test_a_ping_that_measures_is_sent_without_the_pace_of_frames() -> None:
    """It would find no more bandwidth than the pace lets through."""

    async def main() -> None:
        async with connected() as (cloud, line_, _):
            cloud.on[Infer] = lambda session, event: session.channel.send(answer_to(of(event)), [b"answer"])
            assert line_._line is not None
            sock = line_._line.channel._transport.get_extra_info("socket")  # type: ignore[union-attr]

            def pace() -> bytes:
                found: bytes = sock.getsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, 4)
                return found

            unpaced = pace()
            for _ in range(2):
                await infer(line_, pace_bps=8e6)
                assert struct.unpack("I", pace()) == (1_000_000,)
                await line_.probe_by_ping()
                assert pace() == unpaced
            await infer(line_, pace_bps=8e6)
            await infer(line_)
            assert pace() == unpaced

    run(main())
