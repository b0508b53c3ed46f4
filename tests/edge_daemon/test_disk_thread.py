"""Facts about the thread for disk work: one job after another, and no end that waits for a disk that hangs."""

from __future__ import annotations

import asyncio
import threading

import pytest

from edge_daemon.disk_thread import DiskThread
from tests.event_loop import run


def test_jobs_are_done_in_order_and_tell_what_came_of_them() -> None:
    """Results and errors reach who asked, off the event loop."""

    async def main() -> None:
        disk = DiskThread("test")
        done: list[int] = []
        await asyncio.gather(*(disk.run(done.append, number) for number in range(20)))
        assert done == list(range(20))
        assert await disk.run(divmod, 7, 2) == (3, 1)
        assert await disk.run(threading.get_ident) != threading.get_ident()
        with pytest.raises(ZeroDivisionError):
            await disk.run(divmod, 7, 0)
        assert disk.stop(5.0)

    run(main())


def test_a_job_is_done_when_nobody_waits_any_more() -> None:
    """A cancelled wait leaves the queue in order."""

    async def main() -> None:
        disk = DiskThread("test")
        go = threading.Event()
        done: list[int] = []

        def first() -> None:
            go.wait()
            done.append(1)

        waiting = asyncio.create_task(disk.run(first))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        go.set()
        await disk.run(done.append, 2)
        assert done == [1, 2]
        disk.stop(5.0)

    run(main())


def test_a_disk_that_hangs_is_not_waited_for() -> None:
    """The thread is given up; it holds no process up."""

    async def main() -> None:
        disk = DiskThread("test")
        go = threading.Event()
        waiting = asyncio.create_task(disk.run(go.wait))
        await asyncio.sleep(0)
        assert not disk.stop(0.02)
        go.set()
        await waiting
        assert disk.stop(5.0)

    run(main())
