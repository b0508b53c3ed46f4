"""Facts about feeding the watchdog: by work that goes on, never by a timer alone."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence

import pytest

from common.standstill import PartSeen
from common.systemd_notify import SystemdNotifier
from models.compute import ComputeThread
from models.supervised import ComputePulse, keep_informed
from tests.event_loop import run, until


class Told(SystemdNotifier):
    """Notes what systemd would be told."""

    def __init__(self, watchdog_s: float | None = 0.02) -> None:
        super().__init__("@nowhere", watchdog_s)
        self.words: list[str] = []

    def _tell(self, *lines: str) -> None:
        self.words += lines

    @property
    def feedings(self) -> int:
        return self.words.count("WATCHDOG=1")


def seen(done: int, busy: bool = True) -> PartSeen:
    return PartSeen(name="the frames' way", done=done, busy=busy, most_s=10.0)


@contextlib.asynccontextmanager
async def informed(told: Told, parts: Callable[[], Sequence[PartSeen]], clock: Callable[[], float]):  # type: ignore[no-untyped-def]
    task = asyncio.create_task(keep_informed(told, parts, lambda: "at work", clock))
    yield task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_it_is_fed_while_work_moves_and_starved_when_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    """With one part at rest beyond its limit not a single further feeding comes, and the status says what rests."""

    async def main() -> None:
        told, now, done = Told(), [0.0], [0]
        async with informed(told, lambda: [seen(done[0])], lambda: now[0]):
            await until(lambda: told.feedings >= 3)
            assert "STATUS=at work" in told.words
            now[0] = 11.0
            await until(lambda: "STATUS=standing still: the frames' way for 11 s" in told.words)
            fed = told.feedings
            for second in range(12, 40):
                now[0] = float(second)
                await until(lambda second=second: f"for {second} s" in told.words[-1])  # type: ignore[misc]
            assert told.feedings == fed
            done[0] = 1
            await until(lambda: told.feedings > fed)

    run(main())
    assert capsys.readouterr().out.count("work stands still") == 1


def test_a_blocked_event_loop_feeds_nothing() -> None:
    """The feeding is the loop's own work: no thread does it."""

    async def main() -> None:
        told = Told()
        async with informed(told, lambda: [seen(0, busy=False)], lambda: 0.0):
            await until(lambda: told.feedings >= 1)
            fed, before = told.feedings, threading.active_count()
            threading.Event().wait(0.1)  # five periods
            assert told.feedings == fed
            assert threading.active_count() == before

    run(main())


def test_where_nobody_listens_it_ends_at_once() -> None:
    """Without systemd there is no task that wakes for nothing."""

    async def main() -> None:
        await keep_informed(SystemdNotifier(), list, str)

    run(main())


def test_the_status_is_told_without_a_watchdog_too() -> None:
    """`systemctl status` has its line; nothing is fed."""

    async def main() -> None:
        told = Told(None)
        async with informed(told, lambda: [seen(0)], lambda: 0.0):
            await until(lambda: "STATUS=at work" in told.words)
        assert told.feedings == 0

    run(main())


def test_the_pulse_beats_with_the_compute_thread() -> None:
    """It moves as long as the thread gets to new jobs, behind however many others, and stops with it."""

    async def main() -> None:
        compute, end = ComputeThread("test"), threading.Event()
        pulse = ComputePulse(compute, 7.0)
        before = pulse.seen().done
        await until(lambda: pulse.seen().done > before + 2)
        job = compute.submit(end.wait, 20)
        await until(lambda: compute.busy_s > 0)
        for _ in range(3):
            await asyncio.sleep(0.01)
            pulse.seen()
        stopped = pulse.seen()
        await asyncio.sleep(0.05)
        assert pulse.seen() == stopped
        assert (stopped.busy, stopped.most_s) == (True, 7.0)
        end.set()
        await asyncio.wrap_future(job)
        await until(lambda: pulse.seen().done > stopped.done)
        compute.stop(5)

    run(main())
