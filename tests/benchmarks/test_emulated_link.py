"""Facts about the emulated link on real sockets, under both event loops."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from pathlib import Path

import pytest
import uvloop

from benchmarks.emulated_link import EmulatedLink, Forward, LinkShape, obey, parse_address, parse_forward
from benchmarks.emulated_link_proxy import Address

pytestmark = pytest.mark.alone

Run = Callable[[Coroutine[object, object, None]], None]
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]

ANY_PORT = ("127.0.0.1", 0)
MBIT = 1e6


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Run a coroutine to its end; an error in any callback of the loop fails the test."""
    complaints: list[dict[str, object]] = []

    def run_to_end(main: Coroutine[object, object, None]) -> None:
        runner.get_loop().set_exception_handler(lambda _, context: complaints.append(context))
        runner.run(asyncio.wait_for(main, 30))

    factory = uvloop.new_event_loop if request.param == "uvloop" else None
    with asyncio.Runner(loop_factory=factory) as runner:
        yield run_to_end
    assert complaints == []


@contextlib.asynccontextmanager
async def far_end(handler: Handler, shape: LinkShape, forwards: int = 1) -> AsyncIterator[EmulatedLink]:
    """Serve `handler` behind a link, on as many forwards as asked for."""
    server = await asyncio.start_server(handler, *ANY_PORT)
    target: Address = server.sockets[0].getsockname()
    async with EmulatedLink([Forward(listen=ANY_PORT, target=target)] * forwards, shape) as link:
        yield link
    server.close()
    await server.wait_closed()


@contextlib.asynccontextmanager
async def accepted(shape: LinkShape) -> AsyncIterator[tuple[EmulatedLink, Connection, Connection]]:
    """Connect through a link; give it, the client's end and the target's end."""
    arrived: asyncio.Queue[Connection] = asyncio.Queue()

    async def hand_over(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.put_nowait((reader, writer))

    async with far_end(hand_over, shape) as link:
        client = await asyncio.open_connection(*link.addresses[0])
        target = await arrived.get()
        yield link, client, target
        await hang_up(client, target)


async def hang_up(*connections: Connection) -> None:
    """Close connections that may be broken already."""
    for _, writer in connections:
        writer.close()
    for _, writer in connections:
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def until(happened: Callable[[], bool]) -> None:
    """Wait for a state that announces itself in no other way."""
    while not happened():  # noqa: ASYNC110 the link offers no event for each counter
        await asyncio.sleep(0.002)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back what comes."""
    with contextlib.suppress(OSError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    await hang_up((reader, writer))


def noise(n_bytes: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(n_bytes)


@pytest.mark.parametrize(("rate_bps", "n_bytes"), [(5 * MBIT, 150_000), (100 * MBIT, 3_000_000)])
def test_bytes_pass_at_the_set_rate(run: Run, rate_bps: float, n_bytes: int) -> None:
    """The receiver's clock sees the set rate: never more, and hardly less."""

    async def main() -> None:
        async with accepted(LinkShape(rate_bps=rate_bps)) as (link, (_, writer), (reader, _)):
            writer.write(noise(n_bytes))
            received_bytes = len(await reader.read(65536))
            first_s = time.monotonic()
            await reader.readexactly(n_bytes - received_bytes)
            seen_bps = (n_bytes - received_bytes) * 8 / (time.monotonic() - first_s)
            # The lower bound leaves room for a busy machine; the virtual clock's tests have the close one.
            assert 0.75 < seen_bps / rate_bps < 1.1
            assert link.counters().up_bytes == n_bytes
            assert link.counters().down_bytes == 0

    run(main())


def test_two_ports_share_one_bottleneck(run: Run) -> None:
    """Flows through two forwards get half the rate each, and together no more than the rate."""
    rate_bps = 40 * MBIT
    counts = {}

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")
        counts[peer] = 0
        while (chunk := await reader.read(65536)) and sum(counts.values()) < 1_500_000:
            counts[peer] += len(chunk)
        await hang_up((reader, writer))

    async def main() -> None:
        async with far_end(count, LinkShape(rate_bps=rate_bps), forwards=2) as link:
            assert len(set(link.addresses)) == 2
            clients = [await asyncio.open_connection(*address) for address in link.addresses]
            await until(lambda: len(counts) == 2)
            started_s = time.monotonic()
            for _, writer in clients:
                writer.write(bytes(2_000_000))
            await until(lambda: sum(counts.values()) >= 1_500_000)
            seen_bps = sum(counts.values()) * 8 / (time.monotonic() - started_s)
            assert 0.7 < seen_bps / rate_bps < 1.1
            assert min(counts.values()) / max(counts.values()) > 0.75
            await hang_up(*clients)

    run(main())


def test_the_delay_is_added_each_way(run: Run) -> None:
    """A small message and its echo need two delays, and a change of the delay counts at once."""

    async def main() -> None:
        async with far_end(echo, LinkShape(delay_ms=40)) as link:
            client = reader, writer = await asyncio.open_connection(*link.addresses[0])

            async def round_trip_ms() -> float:
                started_s = time.monotonic()
                writer.write(b"ping")
                await reader.readexactly(4)
                return (time.monotonic() - started_s) * 1e3

            await round_trip_ms()
            slow_ms = min([await round_trip_ms() for _ in range(3)])
            link.shape = LinkShape(delay_ms=0)
            fast_ms = min([await round_trip_ms() for _ in range(10)])
            assert slow_ms > 79
            assert slow_ms > 4 * fast_ms
            await hang_up(client)

    run(main())


def test_a_cut_holds_the_bytes_and_then_lets_all_of_them_go(run: Run) -> None:
    """During a cut nothing arrives and nobody is told; afterwards every byte arrives, in order."""
    data = noise(2_000_000)

    async def main() -> None:
        async with accepted(LinkShape(rate_bps=100 * MBIT, delay_ms=2)) as (link, (_, writer), (reader, _)):
            writer.write(data)
            received = await reader.readexactly(100_000)
            link.cut()
            in_the_kernel = await asyncio.wait_for(reader.read(len(data)), 5)
            delivered_bytes = link.counters().up_bytes
            while len(received) + len(in_the_kernel) < delivered_bytes:
                in_the_kernel += await reader.read(len(data))
            assert len(received) + len(in_the_kernel) == delivered_bytes < len(data)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.1)
            assert link.counters().up_bytes == delivered_bytes
            assert link.counters().up_held_bytes > 0
            assert link.counters().connections_open == 1
            link.restore()
            assert link.shape == LinkShape(rate_bps=100 * MBIT, delay_ms=2)
            received += in_the_kernel
            received += await reader.readexactly(len(data) - len(received))
            assert received == data

    run(main())


def test_a_connection_made_during_a_cut_waits_for_its_end(run: Run) -> None:
    """The link accepts it, as a client's own modem would; the target hears of it when the link is back."""
    greeted = asyncio.Event()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        greeted.set()
        await echo(reader, writer)

    async def main() -> None:
        async with far_end(greet, LinkShape(rate_bps=0)) as link:
            client = reader, writer = await asyncio.open_connection(*link.addresses[0])
            writer.write(b"anybody there?")
            await until(lambda: link.counters().up_held_bytes == 14)
            assert not greeted.is_set()
            link.set_rate(10 * MBIT)
            assert await reader.readexactly(14) == b"anybody there?"
            await hang_up(client)

    run(main())


def test_a_half_close_follows_the_bytes_and_leaves_the_other_way_open(run: Run) -> None:
    """The target sees the end after the last byte, and can still answer at length."""
    data = noise(300_000)

    async def main() -> None:
        async with accepted(LinkShape(rate_bps=50 * MBIT, delay_ms=3)) as (link, client, target):
            client[1].write(data)
            client[1].write_eof()
            assert await target[0].read() == data
            target[1].write(data[::-1])
            target[1].write_eof()
            assert await client[0].read() == data[::-1]
            await until(lambda: link.counters().connections_open == 0)

    run(main())


def test_a_target_that_is_down_breaks_the_connection(run: Run) -> None:
    """A refusal reaches the client as a reset, and leaves nothing behind."""
    with socket.socket() as placeholder:  # bound but not listening: refuses
        placeholder.bind(ANY_PORT)
        forward = Forward(listen=ANY_PORT, target=placeholder.getsockname())

        async def main() -> None:
            async with EmulatedLink([forward], LinkShape(delay_ms=1)) as link:
                client = await asyncio.open_connection(*link.addresses[0])
                with pytest.raises(ConnectionResetError):
                    await client[0].read()
                assert link.counters().connections_open == 0
                assert link.counters().connections_accepted == 1
                await hang_up(client)

        run(main())


@pytest.mark.parametrize("breaker", ["client", "target"])
def test_a_broken_connection_is_broken_on_the_other_side_too(run: Run, breaker: str) -> None:
    """A reset of either side arrives on the other one, after the bytes before it."""

    async def main() -> None:
        async with accepted(LinkShape(rate_bps=1 * MBIT, delay_ms=5)) as (link, client, target):
            broken, told = (client, target) if breaker == "client" else (target, client)
            broken[1].write(b"last words")
            assert await told[0].readexactly(4) == b"last"
            linger_no_time = struct.pack("ii", 1, 0)  # makes the kernel close with a reset
            broken[1].get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_no_time)
            broken[1].transport.abort()
            assert await told[0].readexactly(6) == b" words"
            with pytest.raises(ConnectionResetError):
                await told[0].read()
            await until(lambda: link.counters().connections_open == 0)

    run(main())


def test_a_reset_breaks_every_connection_and_welcomes_new_ones(run: Run) -> None:
    """Both ends see a reset at once, even while the link is cut off."""
    resets: asyncio.Queue[str] = asyncio.Queue()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(100):
                writer.write(chunk)
        except ConnectionResetError:
            resets.put_nowait("seen by the target")
        await hang_up((reader, writer))

    async def main() -> None:
        async with far_end(answer, LinkShape()) as link:
            for _ in range(2):
                client = reader, writer = await asyncio.open_connection(*link.addresses[0])
                writer.write(b"hello")
                assert await reader.readexactly(5) == b"hello"
                link.cut()
                link.reset()
                assert link.counters().connections_open == 0
                with pytest.raises(ConnectionResetError):
                    await reader.read()
                assert await resets.get() == "seen by the target"
                link.restore()
                await hang_up(client)

    run(main())


def test_a_receiver_that_does_not_read_holds_the_sender_back(run: Run) -> None:
    """The link swallows its own queue, not the sender's megabytes."""
    shape = LinkShape(rate_bps=200 * MBIT, delay_ms=1)
    sender = socket.create_server(ANY_PORT)  # reused as the far end: a plain socket with a small buffer
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
    sender.setblocking(False)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        forward = Forward(listen=ANY_PORT, target=sender.getsockname())
        async with EmulatedLink([forward], shape) as link:
            client = await asyncio.open_connection(*link.addresses[0])
            target, _ = await loop.sock_accept(sender)
            with target:
                client[1].write(bytes(8_000_000))
                taken_bytes, unchanged = -1, 0
                while unchanged < 20:  # 0.2 s at 200 Mbit/s would be 5 MB
                    counters = link.counters()
                    unchanged = (
                        unchanged + 1 if counters.up_bytes + counters.up_held_bytes == taken_bytes else 0
                    )
                    taken_bytes = counters.up_bytes + counters.up_held_bytes
                    await asyncio.sleep(0.01)
                bound_bytes = shape.waiting_limit_bytes + shape.flying_limit_bytes + shape.quantum_bytes
                assert counters.up_held_bytes <= bound_bytes
                assert taken_bytes < 2_000_000
                left_bytes = 8_000_000
                while left_bytes:
                    left_bytes -= len(await loop.sock_recv(target, 1_000_000))
            await hang_up(client)

    with sender:
        run(main())


def test_many_connections_carry_their_own_bytes(run: Run) -> None:
    """Through a link whose shape changes all the time, thirty echoes come back exactly."""

    async def main() -> None:
        async with far_end(echo, LinkShape(), forwards=3) as link:

            async def one(seed: int) -> None:
                data = noise(60_000 + seed * 1000, seed)
                connection = reader, writer = await asyncio.open_connection(*link.addresses[seed % 3])
                writer.write(data)
                writer.write_eof()
                assert await reader.read() == data
                await hang_up(connection)

            async def weather() -> None:
                rng = random.Random(3)
                while True:
                    rate_bps = rng.choice([None, 0, 30 * MBIT, 300 * MBIT])
                    link.shape = LinkShape(rate_bps=rate_bps, delay_ms=rng.choice([0, 1, 8]))
                    await asyncio.sleep(rng.uniform(0, 0.02))

            changing = asyncio.create_task(weather())
            await asyncio.gather(*(one(seed) for seed in range(30)))
            changing.cancel()
            link.shape = LinkShape()
            await until(lambda: link.counters().connections_open == 0)
            counters = link.counters()
            assert counters.up_bytes == counters.down_bytes == sum(60_000 + seed * 1000 for seed in range(30))
            assert counters.up_held_bytes == counters.down_held_bytes == 0

    run(main())


def test_an_address_in_use_is_an_error_and_leaves_nothing_listening(run: Run) -> None:
    """A start that fails half way undoes the half."""

    async def main() -> None:
        with socket.create_server(ANY_PORT) as taken:
            free = Forward(listen=ANY_PORT, target=("127.0.0.1", 9))
            link = EmulatedLink([free, Forward(listen=taken.getsockname(), target=("127.0.0.1", 9))])
            with pytest.raises(OSError, match="in use"):
                await link.start()
            assert link.addresses == ()
            await link.stop()

    run(main())


def test_orders_change_the_link_and_are_answered() -> None:
    """Each line an operator may write does what it says, and a wrong one says what to write."""
    link = EmulatedLink([Forward(listen=ANY_PORT, target=("127.0.0.1", 9))], LinkShape(rate_bps=1e6))
    assert obey(link, "5mbit") == "5 Mbit/s, 0 ms each way"
    assert obey(link, "delay 20ms") == "5 Mbit/s, 20 ms each way"
    assert obey(link, " OFF ") == "cut off"
    assert obey(link, "0") == "cut off"
    assert obey(link, "on") == "5 Mbit/s, 20 ms each way"
    assert obey(link, "unlimited") == "unlimited, 20 ms each way"
    assert obey(link, "reset") == "all connections reset"
    assert obey(link, "status").startswith("unlimited, 20 ms each way; 0 open of 0 connections")
    for wrong in ("faster", "5", "delay soon", "delay -1"):
        with pytest.raises(ValueError, match=r"bandwidth|float|delay_ms"):
            obey(link, wrong)
    assert link.shape == LinkShape(rate_bps=None, delay_ms=20)


def test_addresses_are_read_or_refused() -> None:
    """Host and port are both needed; IPv6 hosts stand in brackets."""
    assert parse_address("127.0.0.2:7400") == ("127.0.0.2", 7400)
    assert parse_forward("[::1]:1=127.0.0.1:2") == Forward(listen=("::1", 1), target=("127.0.0.1", 2))
    for wrong in ("7400", "127.0.0.1:", "127.0.0.1:http", ":80", "127.0.0.1:65536"):
        with pytest.raises(ValueError, match="not an address"):
            parse_address(wrong)
    with pytest.raises(ValueError, match="not a forward"):
        parse_forward("127.0.0.1:80")


def test_the_command_obeys_its_input_and_ends_cleanly_on_ctrl_c() -> None:
    """The command says where it listens, answers orders, and leaves with status 0 and no complaint."""
    command = [sys.executable, "-m", "benchmarks.emulated_link", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(
        [*command, "--target", "127.0.0.1:9", "--rate", "20mbit", "--delay-ms", "5"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        assert "→ 127.0.0.1:9" in process.stdout.readline()
        assert process.stdout.readline().startswith("link: 20 Mbit/s, 5 ms each way")
        for order, answer in (("off", "cut off\n"), ("5mbit", "5 Mbit/s, 5 ms each way\n")):
            process.stdin.write(f"{order}\n")
            process.stdin.flush()
            assert process.stdout.readline() == answer
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert process.stderr.read() == ""
