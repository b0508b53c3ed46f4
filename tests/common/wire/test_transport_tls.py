"""Facts about a channel over TLS, on real sockets, under both event loops: what holds without it holds with it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios
from collections.abc import AsyncIterator

import numpy as np
import pytest

from common import limits
from common.errors import LinkLostError
from common.wire import transport
from common.wire.connection import Received, Role
from common.wire.messages import Hello, Infer, Ping, Pong, ProfileRequest, Refused, Welcome
from common.wire.paced_writer import PIECE_BYTES
from common.wire.tensors import TensorEntry
from tests.certificates import contexts
from tests.common.wire.samples import SAMPLES
from tests.common.wire.test_transport import Cloud, Run, Side, greet
from tests.event_loop import LOOPS, until
from tests.event_loop import run as run_under

LONG = 20_000_000


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Run:
    return lambda main: run_under(main, request.param)


@contextlib.asynccontextmanager
async def serving(cloud: Cloud) -> AsyncIterator[Cloud]:
    server = await asyncio.get_running_loop().create_server(
        cloud.accept, "127.0.0.1", 0, ssl=contexts()[0], ssl_shutdown_timeout=1.0
    )
    cloud.address = server.sockets[0].getsockname()
    yield cloud
    server.close()
    for side in cloud.all:
        side.channel.abort()
    await asyncio.wait([side.ended for side in cloud.all])
    await server.wait_closed()


async def opened(cloud: Cloud) -> Side:
    edge = Side(Role.EDGE)
    cloud.all.append(edge)
    await asyncio.get_running_loop().create_connection(
        lambda: edge.channel,
        *cloud.address,
        ssl=contexts()[1],
        server_hostname="127.0.0.1",
        ssl_shutdown_timeout=1.0,
    )
    edge.channel.send(SAMPLES[Hello])
    return edge


async def connect(cloud: Cloud) -> tuple[Side, Side]:
    """Connect and greet; return the edge's end and the cloud's."""
    edge = await opened(cloud)
    await edge.hears(Welcome)
    far = await cloud.sides.get()
    await far.hears(Hello)
    return edge, far


def test_tensors_arrive_whole_and_without_a_copy_of_ours(run: Run) -> None:
    """Megabytes are deciphered straight into the aligned memory that the tensors then live in."""

    async def main() -> None:
        tensor = np.random.default_rng(0).integers(0, 256, 3_000_001, np.uint8)
        entries = (TensorEntry(1, "uint8", tensor.shape, tensor.nbytes),)
        async with serving(Cloud()) as cloud:
            edge, far = await connect(cloud)
            infer = Infer(frame=1, epoch=2, deadline_ms=1e3, tensors=entries)
            edge.channel.send(infer, [tensor.data])
            event = await far.hears(Infer)
            received = np.frombuffer(event.payload, np.uint8)
            assert np.array_equal(received, tensor)
            assert received.ctypes.data % limits.TENSOR_ALIGNMENT == 0
            assert tensor.nbytes - 32 * limits.KIB < event.spaced_bytes <= tensor.nbytes
            assert edge.channel.bytes_out == far.channel.bytes_in

    run(main())


def test_each_side_knows_whom_it_speaks_to(run: Run) -> None:
    """The certificate that the other side has proven to be its own."""

    async def main() -> None:
        async with serving(Cloud()) as cloud:
            edge, far = await connect(cloud)
            for side, name in ((edge, "rack"), (far, "porch")):
                # In TLS 1.3 the edge has done its part before the cloud has seen the certificate.
                await until(lambda side=side: side.channel.peer_certificate is not None)  # type: ignore[misc]
                certificate = side.channel.peer_certificate
                assert certificate is not None
                assert certificate["subject"] == ((("commonName", name),),)
            assert far.channel.peer_host == "127.0.0.1"

    run(main())


def test_what_has_not_left_is_counted(run: Run) -> None:
    """While the peer does not read, a long message waits here, but for what kernel and TLS layer hold."""

    async def main() -> None:
        async with serving(Cloud()) as cloud:
            edge, far = await connect(cloud)
            assert far.channel._transport is not None
            far.channel._transport.pause_reading()
            edge.channel.send(ProfileRequest(), [bytes(LONG)])
            assert edge.channel.unsent_bytes > LONG - 8 * limits.MIB
            waiting = asyncio.create_task(edge.channel.writable())
            done, _ = await asyncio.wait([waiting], timeout=0.05)
            assert not done
            far.channel._transport.resume_reading()
            await waiting
            assert edge.channel.unsent_bytes <= 2 * PIECE_BYTES
            await far.hears(ProfileRequest)

    run(main())


def test_whoever_waits_for_room_is_told_when_there_will_be_none(run: Run) -> None:
    """The far end goes, and takes what is unsent with it."""

    async def main() -> None:
        async with serving(Cloud()) as cloud:
            edge, far = await connect(cloud)
            assert far.channel._transport is not None
            far.channel._transport.pause_reading()
            edge.channel.send(ProfileRequest(), [bytes(LONG)])
            waiting = asyncio.create_task(edge.channel.writable())
            await asyncio.sleep(0)
            far.channel.abort()
            with pytest.raises(LinkLostError):
                await waiting

    run(main())


def test_an_upload_that_is_being_taken_is_a_sign_of_life(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the peer's kernel confirms of a long message counts, though the TLS layer hides what it holds."""
    monkeypatch.setattr(transport, "TICK_S", 0.01)
    monkeypatch.setattr(limits, "PING_INTERVAL_S", 100.0)

    async def main() -> None:
        async with serving(Cloud()) as cloud:
            edge, far = await connect(cloud)
            signs: list[float] = []
            monkeypatch.setattr(edge.channel.connection, "progressed", signs.append)
            far_transport = far.channel._transport
            assert far_transport is not None
            far_transport.pause_reading()
            edge.channel.send(ProfileRequest(), [bytes(LONG)])
            quiet = 0
            while quiet < 10:  # until the kernels are full, and nothing moves for some ticks
                signs.clear()
                await asyncio.sleep(0.02)
                quiet = 0 if signs else quiet + 1
            far_transport.resume_reading()
            await far.hears(ProfileRequest)
            assert signs

    run(main())


class Middle:
    """Between edge and cloud: takes what the edge sends while it is open, and hands it on."""

    def __init__(self, edge: socket.socket, cloud: socket.socket) -> None:
        self._edge, self._cloud = edge, cloud
        self._taken = 0
        self.open = asyncio.Event()
        self.open.set()

    @property
    def arrived(self) -> int:
        """Bytes from the edge that this end's kernel has confirmed."""
        waiting = struct.unpack("i", fcntl.ioctl(self._edge, termios.FIONREAD, bytes(4)))[0]
        return self._taken + int(waiting)

    async def carry(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._up())
            group.create_task(self._down())

    async def _up(self) -> None:
        loop = asyncio.get_running_loop()
        await self.open.wait()
        while data := await loop.sock_recv(self._edge, 4096):
            self._taken += len(data)
            await loop.sock_sendall(self._cloud, data)
            await self.open.wait()

    async def _down(self) -> None:
        loop = asyncio.get_running_loop()
        while data := await loop.sock_recv(self._cloud, 4096):
            await loop.sock_sendall(self._edge, data)


@contextlib.asynccontextmanager
async def through_a_middle(cloud: Cloud) -> AsyncIterator[asyncio.Future[Middle]]:
    """Let the next edge come through a middle, which it will be told of."""
    loop, beyond = asyncio.get_running_loop(), cloud.address
    middle: asyncio.Future[Middle] = loop.create_future()
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        listener.setblocking(False)

        async def accept() -> None:
            edge, _ = await loop.sock_accept(listener)
            far = stack.enter_context(socket.create_connection(beyond))
            stack.enter_context(edge)
            edge.setblocking(False)
            far.setblocking(False)
            middle.set_result(Middle(edge, far))
            with contextlib.suppress(ExceptionGroup):
                await middle.result().carry()

        carrying = asyncio.create_task(accept())
        cloud.address = listener.getsockname()
        yield middle
        carrying.cancel()
        await asyncio.wait([carrying])


def test_what_the_tls_layer_holds_has_not_arrived(run: Run) -> None:
    """While nothing gets through, no more counts as confirmed than the other end's kernel has; and then all does."""

    async def main() -> None:
        async with serving(Cloud()) as cloud, through_a_middle(cloud) as found:
            edge, far = await connect(cloud)
            middle, channel = await found, edge.channel
            await until(lambda: channel.confirmed_bytes == channel.bytes_out)
            middle.open.clear()
            channel.send(ProfileRequest(), [bytes(LONG)])
            await until(lambda: channel.confirmed_bytes > 30_000)
            for _ in range(20):
                confirmed = channel.confirmed_bytes
                assert confirmed <= middle.arrived
                await asyncio.sleep(0.001)
            middle.open.set()
            await far.hears(ProfileRequest)
            await until(lambda: channel.outstanding_bytes == 0)
            assert channel.confirmed_bytes == channel.bytes_out

    run(main())


def test_closing_sends_what_waits_first(run: Run) -> None:
    """A long message, and then the end: all of it arrives."""

    async def main() -> None:
        async with serving(Cloud()) as cloud:
            edge, far = await connect(cloud)
            edge.channel.send(ProfileRequest(), [bytes(LONG)])
            edge.channel.close()
            assert not edge.channel.is_open
            with pytest.raises(LinkLostError):
                edge.channel.send(Ping(number=2))
            assert (await far.hears(ProfileRequest)).payload.nbytes == LONG
            assert await edge.ended is None
            assert await far.ended is None

    run(main())


def refuse(side: Side, event: Received) -> None:
    side.channel.send(SAMPLES[Refused])


def test_refused_closes_both_sides_in_order(run: Run) -> None:
    """The refusal arrives before the end does, and neither side calls that an error."""

    async def main() -> None:
        async with serving(Cloud(refuse)) as cloud:
            edge = await opened(cloud)
            assert (await edge.hears(Refused)).message == SAMPLES[Refused]
            assert await edge.ended is None
            assert await (await cloud.sides.get()).ended is None

    run(main())


def test_closed_twice_it_can_still_be_asked(run: Run) -> None:
    """The last message closes, and so may its owner; what is outstanding is looked at until the end has come."""

    async def main() -> None:
        async with serving(Cloud()) as cloud:
            edge, _ = await connect(cloud)
            edge.channel.close()
            edge.channel.close()
            assert edge.channel.outstanding_bytes >= 0
            await edge.channel.done

    run(main())


def test_what_comes_after_the_end_is_not_heard(run: Run) -> None:
    """Whoever goes on talking after its refusal talks to nobody."""

    async def main() -> None:
        async with serving(Cloud(refuse)) as cloud:
            edge = await opened(cloud)
            assert edge.channel._paced is not None
            edge.channel._paced.send([b"?" * 50_000])
            await edge.ended
            far = await cloud.sides.get()
            await far.ended
            assert far.events.qsize() == 1

    run(main())


def test_pings_go_both_ways(run: Run) -> None:
    """Small messages are not held back by the pieces of long ones' machinery."""

    async def main() -> None:
        async with serving(Cloud(greet)) as cloud:
            edge, _ = await connect(cloud)
            for number in range(50):
                edge.channel.send(Ping(number=number + 1))
                assert (await edge.hears(Pong)).message == Pong(
                    number=number + 1, receive_ms=0.0, spaced_bytes=0
                )

    run(main())
