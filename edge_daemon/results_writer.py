"""Puts records on the disk off the event loop, as many at a time as have come meanwhile (group commit).

    lanes ──put()──► pending ──► writer thread: write, fsync ──► counted
                     at most 64; then lanes wait, or with `drop` the record does not count

A lane goes on to its next frame as soon as its record is pending; a frame counts once its record is safe. While one
batch is on its way to the disk the next one gathers, so a slow disk makes batches longer, not frames slower.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from common.errors import CleaveError
from edge_daemon.frame_counts import FrameEvent, FrameLedger
from edge_daemon.results import FrameRecord
from edge_daemon.results_file import ResultsTarget

log = structlog.get_logger()

MOST_PENDING = 64
"""Records that wait for the disk, the batch on its way included; then frames wait, or are dropped."""
RETRY_S = 1.0
"""Results that cannot be written (a full disk) are tried again this often."""


@dataclass(frozen=True, slots=True)
class Line:
    """A record as it is written, and what came of its frame."""

    data: bytes
    failed: bool


class ResultsWriter:
    """Owns the thread that writes. Its methods are the event loop's.

    When records cannot be written they are tried again until they can, and frames wait; with `drop` they are
    dropped and counted instead, and so are those that find no room since the disk is slow or hangs. Each is said
    once. `committed` is given the lines that are safe, in the order in
    which they are; `reader_gone` is called when nobody reads a pipe any more.
    """

    def __init__(
        self,
        target: ResultsTarget,
        ledger: FrameLedger,
        *,
        drop: bool = False,
        committed: Callable[[Sequence[bytes]], None] = lambda _: None,
        reader_gone: Callable[[], None] = lambda: None,
    ) -> None:
        self._target = target
        self._ledger = ledger
        self._drop = drop
        self._committed = committed
        self._reader_gone = reader_gone
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._unwritten = 0
        self._pending: deque[Line] = deque()
        self._lock = threading.Condition()
        self._stopped = threading.Event()
        self._ended = False
        """Nothing is counted any more."""
        self._thread = threading.Thread(target=self._work, name="results", daemon=True)
        self._thread.start()
        self._bug: BaseException | None = None
        self._behind = False
        """Whether records find no room, until all that had come are safe."""
        self.trouble: str | None = None
        """Why records cannot be written now."""

    @property
    def unwritten(self) -> int:
        """Records that are not safe yet."""
        return self._unwritten

    async def put(self, record: FrameRecord) -> None:
        """Take a record of a frame that has been processed; wait, or drop it, while too many are not safe yet."""
        if self._drop and self._unwritten >= MOST_PENDING:
            self._no_room()
            return
        line = Line((record.to_json() + "\n").encode(), record.error is not None)
        while self._unwritten >= MOST_PENDING:
            await self._change()
        self._unwritten += 1
        with self._lock:
            self._pending.append(line)
            self._lock.notify()

    def _no_room(self) -> None:
        if self._bug is not None:
            raise self._bug
        if not self._behind:
            log.error(
                "the disk does not keep up with the results, frames are dropped",
                path=self._target.name,
                waiting=self._unwritten,
            )
        self._behind = True
        self._ledger.note(FrameEvent.UNRECORDED)

    async def flush(self) -> None:
        """Wait until all records are safe or dropped."""
        while self._unwritten and not self._stopped.is_set():
            await self._change()

    async def _change(self) -> None:
        if self._bug is not None:
            raise self._bug
        self._changed.clear()
        await self._changed.wait()

    async def stop(self, timeout_s: float) -> None:
        """End the thread; wait for what it is at for `timeout_s` at most. What it has not begun is not written.

        What is safe by then is counted, and nothing after that: the next start finds it in the results.
        """
        self._stopped.set()
        with self._lock:
            self._pending.clear()
            self._lock.notify()
        self._thread.join(timeout_s)
        if not self._thread.is_alive():
            self._target.close()
        await asyncio.sleep(0)  # what the thread has told is heard in this turn
        self._ended = True

    # --- on the thread ----------------------------------------------------------------------------------
    def _work(self) -> None:
        while not self._stopped.is_set():
            with self._lock:
                while not self._pending and not self._stopped.is_set():
                    self._lock.wait()
                batch = tuple(self._pending)
                self._pending.clear()
            try:
                if batch:
                    self._commit(batch)
            except BaseException as error:  # a bug: whoever waits for a record's safety is told
                self._tell(self._broke, error)
                return

    def _commit(self, batch: Sequence[Line]) -> None:
        lines = b"".join(line.data for line in batch)
        while True:
            try:
                self._target.commit(lines)
            except BrokenPipeError:
                self._stopped.set()
                self._tell(self._nobody_reads)
                return
            except (OSError, CleaveError) as error:
                self._tell(self._in_trouble, error, len(lines), self._target.free_bytes())
                if self._drop:
                    self._tell(self._dropped, len(batch))
                    return
                if self._stopped.wait(RETRY_S):
                    return
            else:
                self._tell(self._safe, batch)
                return

    def _tell(self, what: Callable[..., None], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody counts any more
            self._loop.call_soon_threadsafe(self._hear, what, *arguments)

    # --- on the event loop again ------------------------------------------------------------------------
    def _hear(self, what: Callable[..., None], *arguments: object) -> None:
        if not self._ended:
            what(*arguments)

    def _safe(self, batch: Sequence[Line]) -> None:
        if self.trouble is not None:
            log.info("results can be written again", path=self._target.name)
            self.trouble = None
        for line in batch:
            self._ledger.note(FrameEvent.FAILED if line.failed else FrameEvent.ANSWERED)
        self._committed([line.data for line in batch])
        self._less(len(batch))

    def _dropped(self, count: int) -> None:
        self._ledger.note(FrameEvent.UNRECORDED, count)
        self._less(count)

    def _less(self, count: int) -> None:
        self._unwritten -= count
        self._behind = self._behind and self._unwritten > 0
        self._changed.set()

    def _in_trouble(self, error: OSError | CleaveError, nbytes: int, free_bytes: int | None) -> None:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        if reason != self.trouble:
            event = "frames are dropped" if self._drop else "frames wait"
            log.error(
                f"results cannot be written, {event}",
                path=self._target.name,
                reason=reason,
                bytes=nbytes,
                free_bytes=free_bytes,
            )
        self.trouble = reason

    def _broke(self, bug: BaseException) -> None:
        self._bug = bug
        self._changed.set()

    def _nobody_reads(self) -> None:
        log.info("nobody reads the results any more")
        self._reader_gone()
        self._changed.set()
