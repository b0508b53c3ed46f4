"""The one thread on which a daemon computes: frames first, then preparing, then measuring.

One thread, because two networks on the same cores only slow each other down; off the event loop, because a
network takes the interpreter for milliseconds to seconds. torch releases the interpreter while it computes.
"""

from __future__ import annotations

import asyncio
import itertools
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")


class Priority(IntEnum):
    """What goes first when several things wait."""

    FRAME = 0
    PREPARE = 1
    MEASURE = 2
    STOP = 3


@dataclass(frozen=True, slots=True)
class Timed(Generic[Result]):
    """A job's result, how long it waited for the thread and how long it ran, in ms."""

    result: Result
    queue_ms: float
    run_ms: float


class ComputeThread:
    """Runs jobs one after another on a thread of its own. Jobs should be short: they are not interrupted."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.PriorityQueue[tuple[int, int, Callable[[], None] | None]] = queue.PriorityQueue()
        self._order = itertools.count()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Jobs not begun yet."""
        return self._jobs.qsize()

    async def run(
        self, function: Callable[..., Result], *arguments: Any, priority: Priority = Priority.FRAME
    ) -> Timed[Result]:
        """Run `function(*arguments)` on the thread. A job cancelled before it has begun never runs."""
        future: Future[Timed[Result]] = Future()
        asked = time.perf_counter()

        def job() -> None:
            if not future.set_running_or_notify_cancel():
                return
            begun = time.perf_counter()
            try:
                result = function(*arguments)
            except BaseException as error:
                future.set_exception(error)
            else:
                ended = time.perf_counter()
                future.set_result(Timed(result, (begun - asked) * 1e3, (ended - begun) * 1e3))

        self._jobs.put((priority, next(self._order), job))
        return await asyncio.wrap_future(future)

    def stop(self, timeout_s: float) -> None:
        """End the thread once its present job is done, dropping what waits; wait for that at most `timeout_s`."""
        while True:
            try:
                self._jobs.get_nowait()
            except queue.Empty:
                break
        self._jobs.put((Priority.STOP, next(self._order), None))
        self._thread.join(timeout_s)

    def _work(self) -> None:
        while True:
            _, _, job = self._jobs.get()
            if job is None:
                return
            job()
