"""Facts about computations that do not end."""

from __future__ import annotations

import asyncio
import threading

import pytest

from common.errors import HungError
from models.compute import ComputeThread
from models.watchdog import alive, watch
from tests.event_loop import run


def test_a_job_that_does_not_end_is_found() -> None:
    """It is told with the setting that says what is too long."""

    async def main() -> None:
        compute, end = ComputeThread("test"), threading.Event()
        job = compute.submit(end.wait, 20)
        with pytest.raises(HungError, match=r"does not end \(CLEAVE_HUNG_AFTER_S=0\.05\)"):
            await watch(compute, 0.05, look_s=0.01)
        end.set()
        await asyncio.wrap_future(job)
        compute.stop(5)

    run(main())


def test_jobs_that_end_are_no_matter_how_many_there_are() -> None:
    """Each is a new one: a thread that is busy all the time has not hung."""

    async def main() -> None:
        compute = ComputeThread("test")
        begun, end = threading.Event(), threading.Event()

        def job() -> None:
            begun.set()
            assert end.wait(10)

        first = compute.submit(job)
        await asyncio.to_thread(begun.wait, 10)
        assert compute.busy_s > 0
        watching = asyncio.create_task(watch(compute, 60.0, look_s=0.001))
        end.set()
        await asyncio.wrap_future(first)
        for _ in range(50):
            await compute.run(lambda: None)
        assert not watching.done()
        watching.cancel()
        compute.stop(5)
        assert compute.busy_s == 0

    run(main())


def test_a_long_computation_is_told_before_it_has_hung() -> None:
    """`/livez` says so while the daemon still waits; a thread that is done is alive again."""

    async def main() -> None:
        compute, end = ComputeThread("test"), threading.Event()
        assert alive(compute, 0.02).well
        job = compute.submit(end.wait, 20)
        while alive(compute, 0.02).well:  # noqa: ASYNC110 (the job is another thread's)
            await asyncio.sleep(0.005)
        assert "a computation has run for" in alive(compute, 0.02).says
        assert alive(compute, 300.0).well
        end.set()
        await asyncio.wrap_future(job)
        compute.stop(5)
        assert alive(compute, 0.02).well

    run(main())
