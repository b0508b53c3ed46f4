"""The one thread on which a daemon computes: preparing first, then frames, then measuring.

One thread, because two networks on the same cores only slow each other down; off the event loop, because a
network takes the interpreter for milliseconds to seconds. torch releases the interpreter while it computes.
There are more for the making of stages beside frames (`models/stage_threads.py`).
"""

from __future__ import annotations

import asyncio
import itertools
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any, Generic, TypeVar

import structlog

log = structlog.get_logger()

Result = TypeVar("Result")


class Patience(float, Enum):
    """How long, in seconds, a job lets jobs go first that were asked for after it.

    Waiting jobs run by the time they were asked for plus their patience, so nothing waits for ever: frames
    that keep the thread busy all the time still let measuring through.
    """

    PREPARE = -60.0
    """A better plan waits for nobody: it is what makes the frames behind it faster. The cloud gives an edge this rank
    while what its preparing takes is little (`cloud_daemon/prepare_rank.py`)."""
    FRAME = 0.0
    PULSE = 0.001
    """A sign of life goes as a frame does, and is none: measuring need not give way to it."""
    LEARN = 0.25
    """What frames that wait together are run better by: they wait a little for it, and less after."""
    MEASURE = 2.0
    """Of such jobs one at a time lies among the others, and its patience begins then: however many there are, frames
    that keep the thread busy wait for one of them in two seconds."""


MEASURING_SHARE = 0.25
"""While frames come, measuring takes no more of the time than this: most of them meet none of it. One job may be as
long as a frame's, and if each began when the one before it ended, every frame would wait for one."""
FRAMES_COME_S = 5.0
"""Frames come, when one has ended so lately."""


@dataclass(frozen=True, slots=True)
class Timed(Generic[Result]):
    """A job's result, how long it waited for the thread and how long it ran, in ms."""

    result: Result
    queue_ms: float
    run_ms: float


class _Job(Generic[Result]):
    """A call, and the future that is told what comes of it."""

    def __init__(self, function: Callable[..., Result], arguments: tuple[Any, ...]) -> None:
        self.future: Future[Timed[Result]] = Future()
        self._function, self._arguments = function, arguments
        self.asked = time.perf_counter()

    def run(self) -> None:
        """Make the call, unless the future has been cancelled."""
        if not self.future.set_running_or_notify_cancel():
            return
        begun = time.perf_counter()
        try:
            result = self._function(*self._arguments)
        except BaseException as error:
            self.future.set_exception(error)
            # The error knows this frame, and with it the future that knows the error: both, and the tensors in the
            # frames that the error came through, would stay until the collector comes.
            del self
        else:
            ended = time.perf_counter()
            self.future.set_result(Timed(result, (begun - self.asked) * 1e3, (ended - begun) * 1e3))


class ComputeThread:
    """Runs jobs one after another on a thread of its own. Jobs should be short: none is interrupted, unless it looks
    for a token itself (`cancel_token.py`)."""

    def __init__(self, name: str, begin: Callable[[], None] = lambda: None) -> None:
        """`begin` is called on the thread before all jobs."""
        self._begin = begin
        self._jobs: queue.PriorityQueue[tuple[float, int, Callable[[], None] | None]] = queue.PriorityQueue()
        self._order = itertools.count()
        self._lock = threading.Lock()
        self._line: deque[_Job[Any]] = deque()
        """Measuring jobs that wait for the one before them, or for their time."""
        self._measuring = False
        """Whether one lies among the others, or runs."""
        self._measured_at, self._measured_s = -math.inf, 0.0
        """When the last one ended, and how long it took."""
        self._frame_at = -math.inf
        self._stopped = False
        self._job_began: float | None = None
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Jobs not begun yet."""
        return self._jobs.qsize() + len(self._line)

    @property
    def idle(self) -> bool:
        """Whether a job that is asked for now would begin at once."""
        return self._job_began is None and self._jobs.empty()

    @property
    def busy_s(self) -> float:
        """How long the present job has run; 0 between two."""
        began = self._job_began
        return time.perf_counter() - began if began is not None else 0.0

    async def run(
        self, function: Callable[..., Result], *arguments: Any, patience: Patience = Patience.FRAME
    ) -> Timed[Result]:
        """Run `function(*arguments)` on the thread. A job cancelled before it has begun never runs."""
        return await asyncio.wrap_future(self.submit(function, *arguments, patience=patience))

    def submit(
        self, function: Callable[..., Result], *arguments: Any, patience: Patience = Patience.FRAME
    ) -> Future[Timed[Result]]:
        """Have `function(*arguments)` run on the thread, asked from any other one, or from a job on it."""
        job = _Job(function, arguments)
        if self._stopped:  # a job that asks for the next one while it runs
            job.future.cancel()
        elif patience is Patience.MEASURE:
            with self._lock:
                self._line.append(job)
            if self._admit() is not None:
                self._jobs.put((-math.inf, next(self._order), _nothing))  # the thread is to wake in time
        else:
            run = partial(self._frame, job.run) if patience is Patience.FRAME else job.run
            self._jobs.put((job.asked + patience, next(self._order), run))
        return job.future

    def post(self, function: Callable[[], None]) -> None:
        """Have a frame's turn run on the thread. Nobody waits for it, so what it raises is logged."""
        if not self._stopped:
            run = partial(self._frame, partial(_logged, function))
            self._jobs.put((time.perf_counter() + Patience.FRAME, next(self._order), run))

    def stop(self, timeout_s: float) -> None:
        """End the thread once its present job is done, dropping what waits; wait for that at most `timeout_s`."""
        self._stopped = True
        self._line.clear()
        while True:
            try:
                self._jobs.get_nowait()
            except queue.Empty:
                break
        self._jobs.put((math.inf, next(self._order), None))
        self._thread.join(timeout_s)

    def _admit(self) -> float | None:
        """Put the next measuring job among the others when its time has come, unless one lies there.

        Returns how many seconds it is until then; none where nothing has to be waited for.
        """
        with self._lock:
            while self._line and self._line[0].future.cancelled():
                self._line.popleft()
            if self._measuring or not self._line:
                return None
            now = time.perf_counter()
            pause_s = self._measured_s * (1 / MEASURING_SHARE - 1)
            begins_at = min(self._measured_at + pause_s, self._frame_at + FRAMES_COME_S)
            if now < begins_at:
                return begins_at - now
            job, self._measuring = self._line.popleft(), True
        self._jobs.put((now + Patience.MEASURE, next(self._order), partial(self._measure, job)))
        return None

    def _measure(self, job: _Job[Any]) -> None:
        began = time.perf_counter()
        job.run()
        del job  # an error that it ran into knows this frame
        self._measured_at = time.perf_counter()
        self._measured_s = self._measured_at - began
        self._measuring = False

    def _frame(self, run: Callable[[], None]) -> None:
        run()
        del run  # as above
        self._frame_at = time.perf_counter()

    def _work(self) -> None:
        self._begin()
        while True:
            try:
                _, _, job = self._jobs.get(timeout=self._admit() if self._line else None)
            except queue.Empty:
                continue  # a measuring job's time has come
            if job is None:
                return
            self._job_began = time.perf_counter()
            job()
            del job  # and what it was asked with and gave: the next one may be long in coming
            self._job_began = None


def _nothing() -> None:
    pass


def _logged(function: Callable[[], None]) -> None:
    try:
        function()
    except Exception:
        log.exception("a job failed: a bug")
