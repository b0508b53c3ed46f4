"""A thread that does one owner's disk work, one job after another: a disk that hangs holds nothing else up."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")
Job = tuple["asyncio.Future[Any]", Callable[[], Any]]


class DiskThread:
    """Runs jobs in the order in which they were given. One that hangs keeps no process from ending."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    async def run(
        self, job: Callable[Arguments, Result], *arguments: Arguments.args, **options: Arguments.kwargs
    ) -> Result:
        """Return what a job returns, or raise what it raises. It is done also when nobody waits any more."""
        done: asyncio.Future[Any] = self._loop.create_future()
        self._jobs.put((done, lambda: job(*arguments, **options)))
        return cast(Result, await done)

    def stop(self, timeout_s: float) -> bool:
        """End the thread after what it was given; say whether it has ended within `timeout_s`."""
        self._jobs.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (given := self._jobs.get()) is not None:
            done, job = given
            try:
                result, error = job(), None
            except BaseException as raised:
                result, error = None, raised
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(_settle, done, result, error)


def _settle(done: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
    if done.cancelled():
        return
    if error is not None:
        done.set_exception(error)
    else:
        done.set_result(result)
