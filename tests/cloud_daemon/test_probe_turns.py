"""Facts about turns on the iperf3 server, with real servers where libiperf is there."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import psutil
import pytest

from cloud_daemon import probe_turns as module
from cloud_daemon.probe_turns import ProbeTurns
from common.errors import ProbeError
from edge_daemon.iperf import measure_bandwidth
from tests.cloud_daemon.edge import free_port
from tests.event_loop import LOOPS, run


def missing() -> str:
    """Why iperf3 cannot run here, if it cannot."""
    try:
        import iperf3

        iperf3.Client()
    except (ImportError, OSError) as error:
        return str(error)
    return ""


needs_iperf3 = pytest.mark.skipif(bool(missing()), reason=f"no iperf3: {missing()}")


@needs_iperf3
@pytest.mark.parametrize("loop", LOOPS)
def test_one_edge_measures_at_a_time(loop: str) -> None:
    """Within a turn the server listens; whoever asks meanwhile is told; afterwards it is free, and gone."""
    turns = ProbeTurns("127.0.0.1", free_port())

    async def main() -> None:
        async with turns.turn("127.0.0.1") as server:
            assert psutil.pid_exists(server.pid)
            with pytest.raises(ProbeError, match="another edge is measuring now"):
                async with turns.turn("127.0.0.1"):
                    raise AssertionError("two at a time")
        assert server.returncode is not None
        async with turns.turn("127.0.0.1") as again:
            assert again.pid != server.pid

    run(main(), loop)


@needs_iperf3
def test_a_turn_is_good_for_a_test() -> None:
    """The edge's own child measures against it; the server ends by itself after one test."""
    turns = ProbeTurns("127.0.0.1", free_port())

    async def main() -> None:
        async with turns.turn("127.0.0.1") as server:
            assert await measure_bandwidth("127.0.0.1", turns.port) > 1e6
            async with asyncio.timeout(5):
                assert await server.wait() == 0

    run(main())


@needs_iperf3
def test_a_server_that_cannot_be_started_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many processes, say: the edge measures by ping, keeps its session, and the turn is free again."""

    async def no_process(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", no_process)

    async def main() -> None:
        turns = ProbeTurns("127.0.0.1", free_port())
        for _ in range(2):
            with pytest.raises(ProbeError, match=r"cannot be started here: .*temporarily unavailable"):
                async with turns.turn("127.0.0.1"):
                    raise AssertionError("there is no server")

    run(main())


@needs_iperf3
def test_a_port_in_use_is_told() -> None:
    """The reason names the port, and the turn is free again."""

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            turns = ProbeTurns("127.0.0.1", taken.getsockname()[1])
            for _ in range(2):
                with pytest.raises(ProbeError, match=f"is port {turns.port} in use"):
                    async with turns.turn("127.0.0.1"):
                        raise AssertionError("the port is taken")

    run(main())


@needs_iperf3
def test_whoever_leaves_a_turn_early_ends_its_server() -> None:
    """An edge that goes, or an error within the turn, leaves no process and no turn behind."""
    turns = ProbeTurns("127.0.0.1", free_port())

    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            async with turns.turn("127.0.0.1") as server:
                raise ZeroDivisionError
        assert server.returncode is not None

        async def hold(held: asyncio.Event) -> None:
            async with turns.turn("127.0.0.1"):
                held.set()
                await asyncio.get_running_loop().create_future()

        held = asyncio.Event()
        task = asyncio.create_task(hold(held))
        await held.wait()
        task.cancel()
        await asyncio.wait([task])
        async with turns.turn("127.0.0.1"):
            pass

    run(main())


def test_a_missing_binding_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator learns what to install; the edge measures in another way."""

    def find(name: str) -> Any:
        return None

    monkeypatch.setattr("importlib.util.find_spec", find)

    async def main() -> None:
        with pytest.raises(ProbeError, match="pip install iperf3; apt-get install libiperf0"):
            async with ProbeTurns("127.0.0.1", 5201).turn("127.0.0.1"):
                raise AssertionError("there is none")

    run(main())


def test_a_server_that_does_not_come_up_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that hangs before it listens is ended at the limit, and the turn is free again."""
    started: list[asyncio.subprocess.Process] = []
    start = asyncio.create_subprocess_exec

    async def hang(*_: Any, **options: Any) -> asyncio.subprocess.Process:
        started.append(await start("sleep", "600", **options))
        return started[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", hang)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    monkeypatch.setattr(module, "LISTEN_TIMEOUT_S", 0.1)
    turns = ProbeTurns("127.0.0.1", free_port())

    async def main() -> None:
        for number in range(2):
            with pytest.raises(ProbeError, match=r"did not listen within 0.1 s"):
                async with turns.turn("127.0.0.1"):
                    raise AssertionError("it never listened")
            assert started[number].returncode == -9

    run(main())


@needs_iperf3
def test_within_a_turn_the_port_is_silent_to_everybody_else() -> None:
    """Packets of other addresses are dropped: they cannot connect, and the edge measures all the same."""
    turns = ProbeTurns("127.0.0.1", free_port())

    async def main() -> None:
        async with turns.turn("127.0.0.1"):
            for stranger in ("127.0.0.2", "127.3.0.1"):
                with socket.socket() as client:
                    client.setblocking(False)
                    client.bind((stranger, 0))
                    with pytest.raises(TimeoutError):
                        async with asyncio.timeout(0.3):
                            await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", turns.port))
            assert await measure_bandwidth("127.0.0.1", turns.port) > 1e6

    run(main())


@needs_iperf3
def test_outside_of_a_turn_nothing_listens() -> None:
    """Before and after."""
    turns = ProbeTurns("127.0.0.1", free_port())

    async def main() -> None:
        for _ in range(2):
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", turns.port)
            async with turns.turn("127.0.0.1"):
                pass

    run(main())


def test_an_edge_without_an_address_gets_no_turn() -> None:
    """Its connection has just ended."""

    async def main() -> None:
        with pytest.raises(ProbeError, match="address is not known"):
            async with ProbeTurns("127.0.0.1", 5201).turn(None):
                raise AssertionError("whose turn?")

    run(main())
