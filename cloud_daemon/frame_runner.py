"""Runs the frames of all edges and models on the one compute thread, in the batches that the scheduler chooses."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog
import torch

from cloud_daemon.frame_lines import Wait
from cloud_daemon.frame_scheduler import FrameScheduler
from cloud_daemon.profiles import MeasuringLine
from common import limits
from common.errors import CleaveError, LinkError
from models.batch import BatchRun, BatchSegment, failed
from models.compute import ComputeThread
from models.crossing import Wired

log = structlog.get_logger()

Tensors = Mapping[str, torch.Tensor]


class DeadlinePassedError(LinkError):
    """The edge no longer waits for this frame."""


class NoPlaceError(CleaveError):
    """There is no place in the queue, or another edge needed this frame's more."""

    def __init__(self, retry_after_ms: float) -> None:
        super().__init__(f"the queue is full for {retry_after_ms:.0f} ms")
        self.retry_after_ms = retry_after_ms


@dataclass(frozen=True, slots=True)
class Ran:
    """A frame's outputs as they are sent, and how it fared, in ms.

    `run_ms` is what it would have taken alone, `queue_ms` all the rest: waiting, and for the frames of its batch.
    """

    outputs: Wired
    queue_ms: float
    run_ms: float
    others_ms: float
    batch: int


@dataclass(frozen=True, slots=True, eq=False)
class QueuedFrame:
    """A frame in the queue; `read` gives its tensors, on the compute thread."""

    edge: str
    key: BatchSegment
    deadline: float
    read: Callable[[], Tensors]
    at: float
    result: asyncio.Future[Ran]


Outcome = Ran | BaseException


class FrameRunner:
    """The frames' queue. Its methods are the event loop's; turns happen on the compute thread."""

    def __init__(self, compute: ComputeThread, *, batch_max: int, batch_wait_s: float) -> None:
        self.compute = compute
        self.batch_max = batch_max
        self.measuring = MeasuringLine()
        """Where the profiles of all models wait for each other."""
        self._scheduler: FrameScheduler[QueuedFrame] = FrameScheduler(
            batch_max=batch_max, batch_wait_s=batch_wait_s, places=limits.MAX_CLOUD_QUEUE
        )
        self._lock = threading.Condition()
        self._asked = False
        self.ended = 0
        """Frames whose turn has come and gone; the compute thread counts."""

    def offer(
        self, edge: str, key: BatchSegment, read: Callable[[], Tensors], deadline: float
    ) -> asyncio.Future[Ran]:
        """Queue a frame; `deadline` is on `time.perf_counter`'s clock.

        Raises `NoPlaceError`, as the future may later, when an edge with fewer frames needs the place. The
        future raises `DeadlinePassedError` when it is too late to begin, `FrameError` when the frame is at fault.
        """
        now = time.perf_counter()
        frame = QueuedFrame(edge, key, deadline, read, now, asyncio.get_running_loop().create_future())
        with self._lock:
            offer = self._scheduler.offer(frame, now)
            retry_ms = self._scheduler.retry_s(edge, now) * 1e3 if not offer.taken else 0.0
            self._lock.notify()
        if not offer.taken:
            raise NoPlaceError(retry_ms)
        if offer.displaced is not None:
            _end(offer.displaced, NoPlaceError(self.retry_ms(offer.displaced.edge)))
        self._ask()
        return frame.result

    def gone(self, edge: str) -> None:
        """Drop an edge's frames that wait: nobody is there for their answers."""
        with self._lock:
            self._scheduler.gone(edge)

    @property
    def held(self) -> int:
        """Frames that wait or run."""
        with self._lock:
            return self._scheduler.held

    @property
    def waiting(self) -> int:
        """Frames that wait for their turn."""
        with self._lock:
            return self._scheduler.waiting

    @property
    def busy_s(self) -> float:
        """Time for which frames have been computed so far, the batch that runs not included."""
        with self._lock:
            return self._scheduler.busy_s

    def wait(self, edge: str) -> Wait:
        """How long other edges' frames would hold up those of `edge`."""
        with self._lock:
            return self._scheduler.wait(edge, time.perf_counter())

    def retry_ms(self, edge: str) -> float:
        """How long `edge` does well to wait before it tries again."""
        with self._lock:
            return self._scheduler.retry_s(edge, time.perf_counter()) * 1e3

    # --- on the compute thread --------------------------------------------------------------------------
    def _ask(self) -> None:
        """Have one turn on the thread, behind the jobs that go before frames, unless one is on its way."""
        with self._lock:
            if self._asked or not self._scheduler.waiting:
                return
            self._asked = True
        self.compute.post(self._turn)

    def _turn(self) -> None:
        with self._lock:
            self._asked = False
            turn = self._scheduler.next(time.perf_counter())
            ended: list[tuple[QueuedFrame, Outcome]] = [(frame, _late()) for frame in turn.late]
            while turn.again_at is not None:
                self._lock.wait(turn.again_at - time.perf_counter())
                turn = self._scheduler.next(time.perf_counter())
                ended += [(frame, _late()) for frame in turn.late]
        if turn.batch:
            ended += self._run(turn.batch)
        self.ended += len(ended)
        self._ask()
        _tell(ended)  # last: the event loop, once woken, would wait for the interpreter

    def _run(self, batch: Sequence[QueuedFrame]) -> list[tuple[QueuedFrame, Outcome]]:
        began = time.perf_counter()
        try:
            run = _run(batch)
        except Exception as error:  # a bug: it costs these frames, and the thread goes on
            log.exception("frames failed", frames=len(batch))
            run = BatchRun([CleaveError(f"{type(error).__name__}: {error}")] * len(batch), [0.0] * len(batch))
        ended = time.perf_counter()
        with self._lock:
            others_s = self._scheduler.done(ended, [ms / 1e3 for ms in run.alone_ms])
        outcomes: list[Outcome] = []
        for frame, outcome, alone_ms, held_s in zip(batch, run.outcomes, run.alone_ms, others_s, strict=True):
            if isinstance(outcome, BaseException):
                outcomes.append(outcome)
                continue
            run_ms = min(alone_ms, (ended - began) * 1e3)
            queue_ms = (ended - frame.at) * 1e3 - run_ms
            outcomes.append(Ran(outcome, queue_ms, run_ms, held_s * 1e3, len(batch)))
        return list(zip(batch, outcomes, strict=True))


def _run(batch: Sequence[QueuedFrame]) -> BatchRun:
    """Read the frames' tensors and run them together; one that cannot be read fails alone."""
    inputs: list[Tensors | CleaveError] = []
    read_ms: list[float] = []
    for frame in batch:
        began = time.perf_counter()
        try:
            inputs.append(frame.read())
        except Exception as error:  # a decoder's may be of any kind, no memory among them
            inputs.append(failed(error))
        read_ms.append((time.perf_counter() - began) * 1e3)
    run = batch[0].key.run([one for one in inputs if not isinstance(one, CleaveError)])
    found = iter(zip(run.outcomes, run.alone_ms, strict=True))
    both = [(one, 0.0) if isinstance(one, CleaveError) else next(found) for one in inputs]
    alone_ms = [ms + decoding for (_, ms), decoding in zip(both, read_ms, strict=True)]
    return BatchRun([outcome for outcome, _ in both], alone_ms)


def _late() -> DeadlinePassedError:
    return DeadlinePassedError("the deadline passed before its turn came")


def _tell(ended: Sequence[tuple[QueuedFrame, Outcome]]) -> None:
    """Hand outcomes to the event loop, in one call."""
    if ended:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            ended[0][0].result.get_loop().call_soon_threadsafe(_end_all, ended)


def _end_all(ended: Sequence[tuple[QueuedFrame, Outcome]]) -> None:
    for frame, outcome in ended:
        _end(frame, outcome)


def _end(frame: QueuedFrame, outcome: Outcome) -> None:
    if frame.result.done():
        return
    if isinstance(outcome, BaseException):
        frame.result.set_exception(outcome)
    else:
        frame.result.set_result(outcome)
