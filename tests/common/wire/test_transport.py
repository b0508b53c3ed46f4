"""Facts about the asyncio shell of a connection, on real sockets, under both event loops."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import numpy as np
import pytest

from common import limits
from common.errors import LinkError, LinkLostError, LocalProtocolError, RemoteProtocolError
from common.wire import transport
from common.wire.connection import Received, Role, State
from common.wire.messages import (
    Answer,
    Bye,
    Drain,
    Hello,
    Infer,
    Message,
    Ping,
    Pong,
    ProfileRequest,
    Refused,
    Welcome,
)
from common.wire.tensors import TensorEntry
from common.wire.transport import Channel
from tests.common.wire.samples import SAMPLES, packed
from tests.event_loop import LOOPS
from tests.event_loop import run as run_under

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Run:
    return lambda main: run_under(main, request.param)


class Side:
    """One end of a connection: what it has heard, and how it ended."""

    def __init__(self, role: Role, on_heard: Callable[[Side, Received], None] | None = None) -> None:
        self.channel = Channel(role, self)
        self.events: asyncio.Queue[Received] = asyncio.Queue()
        self.ended: asyncio.Future[LinkError | None] = asyncio.get_running_loop().create_future()
        self._on_heard = on_heard

    def heard(self, event: Received) -> None:
        self.events.put_nowait(event)
        if self._on_heard is not None:
            self._on_heard(self, event)

    def closed(self, error: LinkError | None) -> None:
        self.ended.set_result(error)

    async def hears(self, kind: type[Message]) -> Received:
        """The next message, which must be of type `kind`."""
        event = await self.events.get()
        assert type(event.message) is kind
        return event


class Cloud:
    """A server whose connections greet any edge."""

    def __init__(self, on_heard: Callable[[Side, Received], None] | None = None) -> None:
        self.sides: asyncio.Queue[Side] = asyncio.Queue()
        self.all: list[Side] = []
        self.address = ("", 0)
        self._on_heard = on_heard or greet

    def accept(self) -> Channel:
        side = Side(Role.CLOUD, self._on_heard)
        self.sides.put_nowait(side)
        self.all.append(side)
        return side.channel


def greet(side: Side, event: Received) -> None:
    if isinstance(event.message, Hello):
        side.channel.send(SAMPLES[Welcome])
    elif isinstance(event.message, Ping):
        side.channel.send(
            Pong(
                number=event.message.number,
                receive_ms=event.receive_s * 1e3,
                spaced_bytes=event.spaced_bytes,
            )
        )


@contextlib.asynccontextmanager
async def serving(cloud: Cloud) -> AsyncIterator[Cloud]:
    server = await asyncio.get_running_loop().create_server(cloud.accept, "127.0.0.1", 0)
    cloud.address = server.sockets[0].getsockname()
    yield cloud
    server.close()
    for side in cloud.all:
        side.channel.abort()
    await asyncio.wait([side.ended for side in cloud.all])
    await server.wait_closed()


async def connect(cloud: Cloud) -> tuple[Side, Side]:
    """Connect and greet; return the edge's end and the cloud's."""
    edge = Side(Role.EDGE)
    cloud.all.append(edge)
    await asyncio.get_running_loop().create_connection(lambda: edge.channel, *cloud.address)
    edge.channel.send(SAMPLES[Hello])
    await edge.hears(Welcome)
    far = await cloud.sides.get()
    await far.hears(Hello)
    return edge, far


@contextlib.asynccontextmanager
async def stranger(
    cloud: Cloud,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter, Side]]:
    """Connect with a plain socket; give its streams and the cloud's end."""
    reader, writer = await asyncio.open_connection(*cloud.address)
    yield reader, writer, await cloud.sides.get()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


def test_two_channels_exchange_messages_with_payloads(run: Run) -> None:
    """Over a real connection megabytes arrive whole and aligned, both ways, and both sides count the bytes."""

    async def main() -> None:
        tensor = np.random.default_rng(0).integers(0, 256, 3_000_001, np.uint8)
        entries = (TensorEntry(1, "uint8", tensor.shape, tensor.nbytes),)
        async with serving(Cloud()) as cloud:
            edge, far = await connect(cloud)
            assert edge.channel.is_open
            assert far.channel.is_open
            infer = Infer(frame=1, epoch=2, deadline_ms=1e3, tensors=entries)
            edge.channel.send(infer, [tensor.data])
            event = await far.hears(Infer)
            assert event.message == infer
            assert np.array_equal(np.frombuffer(event.payload, np.uint8), tensor)
            assert 0 < event.spaced_bytes <= tensor.nbytes
            answer = SAMPLES[Answer]
            far.channel.send(answer, [b"a" * 40, bytes(40)])
            assert bytes((await edge.hears(Answer)).payload) == b"a" * 40 + bytes(40)
            edge.channel.send(Bye(reason="done"))
            assert await far.ended is None
            assert await edge.ended is None
            assert edge.channel.bytes_out == far.channel.bytes_in > tensor.nbytes
            assert far.channel.bytes_out == edge.channel.bytes_in > 80

    run(main())


def test_garbage_closes_its_connection_only(run: Run) -> None:
    """A megabyte of random bytes ends with a reason; a session beside it goes on."""

    async def main() -> None:
        async with serving(Cloud()) as cloud:
            edge, _ = await connect(cloud)
            async with stranger(cloud) as (reader, writer, far):
                with contextlib.suppress(ConnectionError):
                    writer.write(random.Random(0).randbytes(1_000_000))
                    await writer.drain()
                error = await far.ended
                assert isinstance(error, RemoteProtocolError)
                assert "this is no Cleave peer" in str(error)
                with contextlib.suppress(ConnectionError):
                    assert await reader.read() == b""
            edge.channel.send(edge.channel.connection.ping(0.0))
            await edge.hears(Pong)

    run(main())


def test_messages_before_the_garbage_are_heard(run: Run) -> None:
    """What was valid is delivered, then the connection closes for what was not."""

    async def main() -> None:
        async with serving(Cloud()) as cloud, stranger(cloud) as (_, writer, far):
            writer.write(packed(SAMPLES[Hello]) + packed(SAMPLES[Ping]) + packed(SAMPLES[Welcome]))
            await far.hears(Hello)
            await far.hears(Ping)
            assert str(await far.ended) == "Welcome from the EDGE in OPEN"

    run(main())


def test_a_peer_that_never_says_hello_is_cut(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A silent socket is closed at the handshake's deadline, by both roles."""
    monkeypatch.setattr(limits, "HANDSHAKE_TIMEOUT_S", 0.05)
    monkeypatch.setattr(transport, "TICK_S", 0.01)

    async def main() -> None:
        async with serving(Cloud()) as cloud, stranger(cloud) as (reader, _, far):
            error = await far.ended
            assert isinstance(error, LinkLostError)
            assert "no handshake" in str(error)
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        with socket.create_server(("127.0.0.1", 0)) as mute:
            edge = Side(Role.EDGE)
            loop = asyncio.get_running_loop()
            await loop.create_connection(lambda: edge.channel, *mute.getsockname())
            edge.channel.send(SAMPLES[Hello])
            assert "no handshake" in str(await edge.ended)

    run(main())


class Frozen:
    """A peer whose process has stopped: its kernel confirms what arrives, it says nothing after its Welcome."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = self._listener.getsockname()
        self._peer: socket.socket | None = None

    async def welcome(self) -> None:
        loop = asyncio.get_running_loop()
        self._listener.setblocking(False)
        self._peer, _ = await loop.sock_accept(self._listener)
        await loop.sock_sendall(self._peer, packed(SAMPLES[Welcome]))

    def close(self) -> None:
        self._listener.close()
        if self._peer is not None:
            self._peer.close()


def test_a_frozen_peer_is_given_up_though_its_kernel_confirms_pings(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Confirmed pings are no sign of life of the program that should answer them."""
    monkeypatch.setattr(limits, "DEAD_AFTER_S", 0.5)
    monkeypatch.setattr(limits, "PING_INTERVAL_S", 0.05)
    monkeypatch.setattr(transport, "TICK_S", 0.02)
    frozen = Frozen()

    async def main() -> None:
        edge = Side(Role.EDGE)
        await asyncio.get_running_loop().create_connection(lambda: edge.channel, *frozen.address)
        edge.channel.send(SAMPLES[Hello])
        await frozen.welcome()
        await edge.hears(Welcome)
        async with asyncio.timeout(10):
            error = await edge.ended
        assert isinstance(error, LinkLostError)
        assert "silent" in str(error)

    try:
        run(main())
    finally:
        frozen.close()


def test_an_upload_that_is_being_taken_is_a_sign_of_life(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the peer's kernel takes a long message piece by piece, the peer counts as alive."""
    monkeypatch.setattr(transport, "TICK_S", 0.01)
    monkeypatch.setattr(limits, "PING_INTERVAL_S", 100.0)

    async def main() -> None:
        server = socket.create_server(("127.0.0.1", 0))
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        server.setblocking(False)
        loop = asyncio.get_running_loop()
        edge = Side(Role.EDGE)
        await loop.create_connection(lambda: edge.channel, *server.getsockname())
        edge.channel.send(SAMPLES[Hello])
        peer, _ = await loop.sock_accept(server)
        await loop.sock_sendall(peer, packed(SAMPLES[Welcome]))
        await edge.hears(Welcome)
        signs: list[float] = []
        monkeypatch.setattr(edge.channel.connection, "progressed", signs.append)
        edge.channel.send(ProfileRequest(), [bytes(20_000_000)])
        while not signs:  # nothing is said by the peer, it only reads
            await loop.sock_recv(peer, 65_536)
        assert edge.channel.is_open
        edge.channel.abort()
        await edge.ended
        peer.close()
        server.close()

    run(main())


def test_a_listener_may_refuse_what_it_hears(run: Run) -> None:
    """A message that is valid but wrong here closes the connection for the listener's reason."""

    def refuse(side: Side, event: Received) -> None:
        if isinstance(event.message, Infer):
            raise RemoteProtocolError("tensors of another stage")
        greet(side, event)

    async def main() -> None:
        async with serving(Cloud(refuse)) as cloud:
            edge, far = await connect(cloud)
            edge.channel.send(SAMPLES[Infer], [bytes(3)])
            assert str(await far.ended) == "tensors of another stage"
            await edge.ended
            assert not edge.channel.is_open

    run(main())


def test_refused_and_bye_close_both_sides_in_order(run: Run) -> None:
    """The last message arrives before the end does, and neither side calls that an error."""

    def refuse(side: Side, event: Received) -> None:
        side.channel.send(SAMPLES[Refused])

    async def main() -> None:
        async with serving(Cloud(refuse)) as cloud:
            edge = Side(Role.EDGE)
            cloud.all.append(edge)
            await asyncio.get_running_loop().create_connection(lambda: edge.channel, *cloud.address)
            edge.channel.send(SAMPLES[Hello])
            assert (await edge.hears(Refused)).message == SAMPLES[Refused]
            assert await edge.ended is None
            assert await (await cloud.sides.get()).ended is None

    run(main())


def test_a_torn_message_is_a_lost_link(run: Run) -> None:
    """A peer that dies within a message is told from one that closes after it."""

    async def main() -> None:
        async with serving(Cloud()) as cloud:
            async with stranger(cloud) as (_, writer, far):
                writer.write(packed(SAMPLES[Hello])[:-1])
                writer.write_eof()
                assert "in the middle of a message" in str(await far.ended)
            async with stranger(cloud) as (_, writer, far):
                writer.write(packed(SAMPLES[Hello]))
                writer.write_eof()
                assert await far.ended is None

    run(main())


def test_a_closed_channel_takes_no_message(run: Run) -> None:
    """Sending on a channel that is closed, or about to be, is a lost link, and it does not call itself open."""

    async def main() -> None:
        async with serving(Cloud()) as cloud:
            edge, far = await connect(cloud)
            for close in (edge.channel.close, far.channel.abort):
                channel: Channel = close.__self__  # type: ignore[attr-defined]
                close()
                assert not channel.is_open
                with pytest.raises(LinkLostError, match="the connection is closed"):
                    channel.send(SAMPLES[Ping])
                with pytest.raises(LinkLostError, match="the connection is closed"):
                    await channel.writable()
            await edge.ended
            await far.ended
            assert edge.channel.connection.state is State.CLOSED
            edge.channel.abort()  # once more does no harm

    run(main())


def test_what_the_protocol_forbids_is_not_sent(run: Run) -> None:
    """A message that this side may not say now is a local error, and the connection is unharmed."""

    async def main() -> None:
        async with serving(Cloud()) as cloud:
            edge, far = await connect(cloud)
            with pytest.raises(LocalProtocolError, match="Answer by the EDGE in OPEN"):
                edge.channel.send(SAMPLES[Answer])
            edge.channel.send(Drain(reason="going"))
            await far.hears(Drain)
            assert edge.channel.is_open

    run(main())


def test_a_channel_without_a_connection_is_closed(run: Run) -> None:
    """Before a connection is made nothing can be sent; one that was aborted before is closed at once."""

    async def main() -> None:
        edge = Side(Role.EDGE)
        assert not edge.channel.is_open
        assert edge.channel.peer == "unknown"
        with pytest.raises(LinkLostError):
            edge.channel.send(SAMPLES[Hello])
        async with serving(Cloud()) as cloud:
            edge.channel.abort(LinkLostError("too many"))
            await asyncio.get_running_loop().create_connection(lambda: edge.channel, *cloud.address)
            assert str(await edge.ended) == "too many"

    run(main())


def test_writing_waits_while_the_peer_does_not_read(run: Run) -> None:
    """A full buffer holds the writer back until the peer reads on."""

    async def main() -> None:
        async with serving(Cloud()) as cloud:
            edge, far = await connect(cloud)
            assert far.channel._transport is not None
            far.channel._transport.pause_reading()
            edge.channel.send(ProfileRequest(), [bytes(20_000_000)])
            waiting = asyncio.create_task(edge.channel.writable())
            done, _ = await asyncio.wait([waiting], timeout=0.05)
            assert not done
            far.channel._transport.resume_reading()
            await waiting
            await far.hears(ProfileRequest)

    run(main())


def test_writing_ends_when_the_connection_does(run: Run) -> None:
    """Whoever waits for room is told when there will be none."""

    async def main() -> None:
        async with serving(Cloud()) as cloud:
            edge, far = await connect(cloud)
            assert far.channel._transport is not None
            far.channel._transport.pause_reading()
            edge.channel.send(ProfileRequest(), [bytes(20_000_000)])
            waiting = asyncio.create_task(edge.channel.writable())
            await asyncio.sleep(0)
            far.channel.abort()
            with pytest.raises(LinkLostError):
                await waiting

    run(main())
