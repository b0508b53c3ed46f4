"""A cloud in the test's own loop: speaks the protocol, does as each test says, notes what it heard."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest

from common import limits
from common.config import Address
from common.errors import LinkError
from common.wire import transport
from common.wire.connection import Received, Role
from common.wire.messages import (
    PROTOCOL,
    Answer,
    Hello,
    Infer,
    Message,
    Ping,
    Pong,
    Prepare,
    Prepared,
    Refused,
    Welcome,
)
from common.wire.tensors import TensorEntry
from common.wire.transport import Channel
from edge_daemon import attempts, line
from edge_daemon.cloud_load import AnsweredWait, ExpectedWait
from edge_daemon.frames_away import Reply
from edge_daemon.line import UplinkEvents
from edge_daemon.link_estimate import BandwidthSample
from edge_daemon.uplink import Uplink
from tests.event_loop import until

DIGEST = "0123456789abcdef" * 4
HELLO = Hello(
    protocol=PROTOCOL, edge="porch", model="tiny", architecture=DIGEST, weights=DIGEST, graph=DIGEST
)
WELCOME = Welcome(session="1", cloud="rack", device="a GPU", credit=4)
ENTRIES = (TensorEntry(1, "uint8", (5,), 5),)


def answer_to(infer: Infer, epoch: int | None = None) -> Answer:
    """An answer without tensors."""
    return Answer(
        frame=infer.frame,
        epoch=infer.epoch if epoch is None else epoch,
        receive_ms=10.0,
        spaced_bytes=50_000,
        queue_ms=1.0,
        tail_ms=2.0,
        cloud_ms=4.0,
        others_ms=0.5,
        batch=1,
        tensors=(),
    )


class FakeCloud:
    """Greets, answers pings, and passes everything else to `on`, by the message's type."""

    def __init__(self) -> None:
        self.refusal: Refused | None = None
        self.answers_pings = True
        self.on: dict[type[Message], Callable[[FakeSession, Received], None]] = {
            Prepare: lambda session, event: session.say_ready(event),
        }
        self.sessions: list[FakeSession] = []
        self._server: asyncio.Server | None = None
        self.address = Address(host="127.0.0.1", port=0)

    async def start(self) -> None:
        """Listen: at first anywhere, later at the same port again."""
        self._server = await asyncio.get_running_loop().create_server(
            lambda: FakeSession(self).channel, "127.0.0.1", self.address.port
        )
        port = self._server.sockets[0].getsockname()[1]
        self.address = Address(host="127.0.0.1", port=port)

    async def stop(self) -> None:
        """Vanish: refuse new connections, break the old ones."""
        assert self._server is not None
        self._server.close()
        for session in self.sessions:
            session.channel.abort()
        await until(lambda: all(session.gone for session in self.sessions))
        await self._server.wait_closed()

    @property
    def session(self) -> FakeSession:
        """The latest connection."""
        return self.sessions[-1]


class FakeSession:
    def __init__(self, cloud: FakeCloud) -> None:
        self._cloud = cloud
        self.channel = Channel(Role.CLOUD, self)
        self.received: list[Received] = []
        self.gone = False
        cloud.sessions.append(self)

    def heard(self, event: Received) -> None:
        message = event.message
        self.received.append(event)
        if isinstance(message, Hello):
            self.channel.send(self._cloud.refusal or WELCOME)
        elif type(message) in self._cloud.on:
            self._cloud.on[type(message)](self, event)
        elif isinstance(message, Ping) and self._cloud.answers_pings:
            self.channel.send(
                Pong(number=message.number, receive_ms=8.0, spaced_bytes=40_000, wait_ms=3.0, in_line_ms=9.0)
            )

    def closed(self, error: LinkError | None) -> None:
        self.gone = True

    def all(self, kind: type[Message]) -> list[Message]:
        return [event.message for event in self.received if isinstance(event.message, kind)]

    def say_ready(self, event: Received) -> None:
        assert isinstance(event.message, Prepare)
        self.channel.send(Prepared(epoch=event.message.epoch, ready=True, reason="", prepare_ms=1.0))


class Heard:
    """What an uplink told its owner."""

    def __init__(self) -> None:
        self.ups = 0
        self.downs: list[str] = []
        self.samples: list[BandwidthSample] = []
        self.round_trips: list[float] = []
        self.waits: list[AnsweredWait | ExpectedWait] = []

    def up(self) -> None:
        self.ups += 1

    @property
    def events(self) -> UplinkEvents:
        return UplinkEvents(
            up=self.up,
            down=self.downs.append,
            measured=self.samples.append,
            round_trip=self.round_trips.append,
            waited=self.waits.append,
        )


@contextlib.asynccontextmanager
async def connected(cloud: FakeCloud | None = None) -> AsyncIterator[tuple[FakeCloud, Uplink, Heard]]:
    """Run an uplink to a fake cloud; give both once they are connected."""
    cloud, heard = cloud or FakeCloud(), Heard()
    await cloud.start()
    uplink = Uplink(cloud.address, HELLO, heard.events)
    task = asyncio.create_task(uplink.run())
    await until(lambda: uplink.available or task.done())
    if task.done():
        task.result()
    try:
        yield cloud, uplink, heard
    finally:
        task.cancel()
        await asyncio.wait([task])
        await cloud.stop()


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shrink the times of the link, so that tests need not wait for them."""
    monkeypatch.setattr(limits, "RECONNECT_FIRST_S", 0.01)
    monkeypatch.setattr(limits, "RECONNECT_MAX_S", 0.02)
    monkeypatch.setattr(attempts, "MOST_AT_A_TIME", 1)  # or some begin before the first can be greeted
    monkeypatch.setattr(limits, "PING_INTERVAL_S", 0.02)
    monkeypatch.setattr(limits, "DEAD_AFTER_S", 20.0)
    monkeypatch.setattr(transport, "TICK_S", 0.01)
    monkeypatch.setattr(line, "SILENCE_S", 15.0)


async def infer(
    line_: Uplink, frame: int = 1, epoch: int = 1, timeout_s: float = 20.0, pace_bps: float | None = None
) -> Reply:
    patience_s, longest_s = timeout_s, 4 * timeout_s
    return await line_.infer(
        frame, epoch, ENTRIES, [b"12345"], patience_s=patience_s, longest_s=longest_s, pace_bps=pace_bps
    )


def of(event: Received) -> Infer:
    assert isinstance(event.message, Infer)
    return event.message


def more_than_fits(cloud: FakeCloud) -> tuple[tuple[TensorEntry, ...], bytes]:
    """Have the cloud stop reading; return the entry and the bytes of a tensor that then fills the line."""
    transport = cloud.session.channel._transport
    assert transport is not None
    transport.pause_reading()
    tensor = bytes(30_000_000)
    return (TensorEntry(1, "uint8", (len(tensor),), len(tensor)),), tensor
