"""Facts about the cloud's front door: whom it lets in, and how it closes."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
from pathlib import Path
from typing import Any
from weakref import WeakSet

import pytest
import torch

from cloud_daemon import server as module
from cloud_daemon.access import Access
from cloud_daemon.server import CloudServer
from common import limits
from common.config import Address
from common.errors import ConfigurationError
from common.plan import Cut
from common.tls.contexts import cloud_context
from common.tls.identity import Identity
from common.wire import transport
from common.wire.connection import Role
from common.wire.messages import Drain, Failed, Ping, Pong, Welcome
from common.wire.receive_ledger import ReceiveLedger
from common.wire.transport import Channel
from models.executor import TorchExecutor
from tests.certificates import contexts
from tests.certificates import rack as rack_files
from tests.cloud_daemon.edge import GRAPH, SPLIT, Blocked, Edge, cloud, crossing, hello, whole
from tests.common.wire.samples import packed
from tests.event_loop import LOOPS, run, until
from tests.tiny_model import jpeg


def test_many_edges_at_a_time_each_have_their_own_answers(tmp_path: Path) -> None:
    """Eight edges, each under its own epoch, with its own frames."""

    async def serve(edge: Edge, number: int) -> None:
        assert (await edge.prepares(SPLIT, epoch=number + 1)).ready
        for frame in range(3):
            edge.infers(frame, crossing(SPLIT, jpeg(number)), epoch=number + 1)
            answer, tensor = await edge.answer()
            assert (answer.frame, answer.epoch) == (frame, number + 1)
            torch.testing.assert_close(tensor, whole(jpeg(number)), rtol=1e-4, atol=1e-6)

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edges = [await rack.greeted(edge=f"edge {i}") for i in range(8)]
            await asyncio.gather(*(serve(edge, i) for i, edge in enumerate(edges)))
            assert len(rack.server.sessions) == 8

    run(main())


def test_too_many_connections_without_a_greeting_are_closed_at_once(tmp_path: Path) -> None:
    """Sixteen may be silent; one more, and the oldest is cut. Sessions are not touched, and who greets gets in."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            session = await rack.greeted()
            silent = [await rack.connect() for _ in range(limits.MAX_GREETING_CONNECTIONS)]
            await until(lambda: len(rack.server._greeting) == limits.MAX_GREETING_CONNECTIONS)
            surplus = await rack.connect()
            await silent[0].ended
            assert not any(edge.ended.done() for edge in (*silent[1:], surplus))
            session.say(Ping(number=1))
            await session.hears(Pong)
            surplus.say(hello())
            await surplus.events.get()
            assert len(rack.server.sessions) == 2
            late = await rack.greeted()
            assert late.channel.is_open

    run(main())


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("steps", range(4))
def test_whenever_a_connection_without_a_greeting_is_closed_its_channel_hears_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int, loop: str
) -> None:
    """Also while its handshake is about to end: uvloop tells nobody of a socket whose handshake is cancelled."""
    made = Channel.connection_made
    channels: list[Channel] = []

    async def main() -> None:
        async with cloud(tmp_path) as rack:

            def close(channel: Channel, after: int) -> None:
                if after:
                    asyncio.get_running_loop().call_soon(close, channel, after - 1)
                    return
                for session in [*rack.server._greeting]:
                    if session.channel is channel:
                        channels.append(channel)
                        rack.server._close(session)

            def connection_made(channel: Channel, transport: asyncio.BaseTransport) -> None:
                made(channel, transport)
                if channel.connection.role is Role.CLOUD:
                    close(channel, steps)

            monkeypatch.setattr(Channel, "connection_made", connection_made)
            edge = await rack.connect()
            await edge.ended
            await channels[0].done
            await until(lambda: not rack.server._greeting and not rack.server._handshakes)

    run(main(), loop)


async def comes_and_goes(address: Address, context: ssl.SSLContext) -> None:
    """Be an edge that greets under TLS, is welcomed, and leaves."""
    edge = Edge()
    loop = asyncio.get_running_loop()
    await loop.create_connection(
        lambda: edge.channel, address.host, address.port, ssl=context, server_hostname="127.0.0.1"
    )
    edge.say(hello())
    await edge.hears(Welcome)
    edge.channel.abort()
    await edge.ended


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_connections_leave_nothing_for_the_collector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tls: bool
) -> None:
    """Each has buffers; circles of objects would keep them until the collector comes round, which may be hours.

    Under uvloop, that is: asyncio's own loop makes circles itself.
    """
    channels: WeakSet[Channel] = WeakSet()
    count = 0
    make = Channel.__init__

    def made(channel: Channel, *arguments: Any) -> None:
        nonlocal count
        make(channel, *arguments)
        channels.add(channel)
        count += 1

    monkeypatch.setattr(Channel, "__init__", made)
    identity = Identity(rack_files(tmp_path / "tls"), cloud_context) if tls else None

    async def main() -> None:
        async with cloud(tmp_path, access=Access(identity)) as rack:
            gc.disable()
            visits = (b"", b"no protocol of ours", *([] if tls else [packed(hello())]))
            for number, words in enumerate(visits, start=1):
                with socket.create_connection((rack.address.host, rack.address.port)) as visitor:
                    visitor.sendall(words)
                    await until(lambda number=number: count == number)  # type: ignore[misc]
                await until(lambda: not channels)
            if tls:
                await comes_and_goes(rack.address, contexts()[1])
                await until(lambda: not channels)

    try:
        run(main())
    finally:
        gc.enable()


@pytest.mark.usefixtures("no_collector")
def test_frames_at_fault_leave_nothing_for_the_collector(tmp_path: Path) -> None:
    """Until their payloads are gone they count in the ledger: frames that are no images would fill it."""
    executor = TorchExecutor()
    ledger = ReceiveLedger(limits.MIB, executor.receive_buffers())

    async def main() -> None:
        async with cloud(tmp_path, executor=executor, ledger=ledger) as rack:
            edge = await rack.greeted()
            await edge.prepares(Cut.cloud_only(GRAPH))
            for data in (b"no image", jpeg()[:200]):
                edge.infers(1, {"frame": torch.tensor(list(data), dtype=torch.uint8)})
                assert (await edge.hears(Failed)).frame_at_fault
                await until(lambda: ledger.held_bytes == 0)

    run(main())


def test_a_silent_connection_is_closed_at_its_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who connects and says nothing makes room by itself."""
    monkeypatch.setattr(limits, "HANDSHAKE_TIMEOUT_S", 0.05)
    monkeypatch.setattr(transport, "TICK_S", 0.01)

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            reader, writer = await asyncio.open_connection(rack.address.host, rack.address.port)
            await until(lambda: len(rack.server._greeting) == 1)
            await until(lambda: len(rack.server._greeting) == 0)
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()

    run(main())


def test_on_shutdown_edges_are_told_and_frames_answered(tmp_path: Path) -> None:
    """Drain first, then the answers of what is here, then the end; nobody new gets in."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edge = await rack.greeted()
            silent = await rack.connect()
            await edge.prepares()
            async with Blocked(rack):
                edge.infers(1, crossing(SPLIT, jpeg()))
                await until(lambda: rack.server.frames_here == 1)
                stopping = asyncio.create_task(rack.server.stop())
                assert "shutting down" in (await edge.hears(Drain)).reason
                assert not edge.ended.done()
            assert (await edge.answer())[0].frame == 1
            await stopping
            await edge.ended
            await silent.ended
            with pytest.raises(OSError, match=r"."):
                await rack.connect()

    run(main())


def test_shutdown_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tail that hangs is left behind after the time to drain."""
    monkeypatch.setattr(module, "DRAIN_S", 0.05)

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edge = await rack.greeted()
            await edge.prepares()
            async with Blocked(rack):
                edge.infers(1, crossing(SPLIT, jpeg()))
                await until(lambda: rack.server.frames_here == 1)
                await rack.server.stop()
                await edge.ended

    run(main())


def test_shutdown_amid_a_closing_connection_is_no_error(tmp_path: Path) -> None:
    """An edge that is being closed at that moment need not be told."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            await rack.greeted()
            (session,) = rack.server.sessions
            session.channel.abort()
            await rack.server.stop()

    run(main())


def test_an_address_in_use_is_the_operators_error(tmp_path: Path) -> None:
    """With the setting to change."""

    async def main() -> None:
        async with cloud(tmp_path) as rack, asyncio.TaskGroup() as tasks:
            for address in (rack.address, Address(host="192.0.2.1", port=1)):
                second = CloudServer("second", address, [rack.pool], rack.pool.frames, 5201, tasks)
                with pytest.raises(
                    ConfigurationError, match=f"cannot listen on {address}.*CLEAVE_CLOUD_LISTEN"
                ):
                    await second.start()

    run(main())
