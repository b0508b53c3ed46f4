"""What one sink has to send: taken from the results as they are safe, spooled, handed out in order, confirmed.

    results ──take()──► taken ──► disk thread: Spool ──next()──► the sink's sender ──► receiver
                        4 MiB     bounded                  ◄──sent()── confirmed

The results wait for nothing here.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import structlog

from common.limits import MIB
from edge_daemon.disk_thread import DiskThread
from edge_daemon.sinks.disk_trouble import DiskTrouble
from edge_daemon.sinks.messages import Message
from edge_daemon.sinks.results_history import ResultsHistory
from edge_daemon.sinks.spool import Batch, Spool

log = structlog.get_logger()

Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")

MOST_TAKEN_BYTES = 4 * MIB
"""Records that wait for a disk that does not answer; beyond, the oldest is dropped."""
RETRY_S = 1.0
"""A spool that cannot be opened, written or read is tried again this often."""
SAVE_S = 1.0
"""How far the receiver has confirmed is written down this often: after a kill so much is sent again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkStatus:
    """How one sink is: what waits now (`spooled_…`), and records since the start.

    `dropped` were too many to wait, `refused` the receiver does not want, `damaged` the disk has lost.
    """

    name: str
    connected: bool
    spooled_records: int
    spooled_bytes: int
    sent: int
    dropped: int
    refused: int
    damaged: int
    last_error: str | None


class Outbox:
    """The records that one sink has yet to send. For the event loop only; the disk is another thread's."""

    def __init__(
        self,
        name: str,
        spool: Spool,
        history: ResultsHistory,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.disk = DiskThread(f"spool {name}")
        self._spool = spool
        self._history = history
        self._clock = clock
        self._log = log.bind(sink=name)
        self._taken: deque[Message] = deque()
        self._taken_bytes = 0
        self._moving = 0
        """Messages that the disk thread is putting into the spool."""
        self.came = 0
        """Messages taken since the start."""
        self._came = asyncio.Event()
        """There is something to spool."""
        self._spooled = asyncio.Event()
        """There is more in the spool than there was."""
        self._progress = asyncio.Event()
        """Something was sent, or cannot be."""
        self._saved_at = clock()
        self._unsaved = False
        self._unwritable = DiskTrouble(self._log, spool.directory, "written")
        self._unreadable = DiskTrouble(self._log, spool.directory, "read")
        self._connected = False
        self._reasons: list[str] = []
        """Why the receiver is away, each said once."""
        self._told_dropped = 0
        self._said_dropped = False
        self._sent = self._refused = self._dropped = 0

    def status(self) -> SinkStatus:
        return SinkStatus(
            name=self.name,
            connected=self._connected,
            spooled_records=self._waiting,
            spooled_bytes=self._spool.nbytes + self._taken_bytes,
            sent=self._sent,
            dropped=self._spool.dropped + self._dropped,
            refused=self._refused,
            damaged=self._spool.damaged,
            last_error=self._last_error(),
        )

    def _last_error(self) -> str | None:
        trouble = self._unwritable.reason or self._unreadable.reason
        return self._reasons[-1] if self._reasons else trouble and f"spool: {trouble}"

    @property
    def _waiting(self) -> int:
        return len(self._taken) + self._moving + self._spool.records

    async def emptied(self) -> None:
        """Return once everything that was taken has been sent, or the receiver is known to be away."""
        while self._waiting and not self._reasons:
            self._progress.clear()
            await self._progress.wait()

    # --- records come in --------------------------------------------------------------------------------
    def take(self, messages: Sequence[Message]) -> None:
        """Take messages that are safe in the results. Returns at once, whatever the disk does."""
        self._taken.extend(messages)
        self.came += len(messages)
        self._taken_bytes += sum(len(message.record) for message in messages)
        while self._taken_bytes > MOST_TAKEN_BYTES:
            self._taken_bytes -= len(self._taken.popleft().record)
            self._dropped += 1
        self._came.set()

    async def run(self) -> None:
        """Open the spool, fill it up from the results, and put into it what comes. Runs until it is cancelled."""
        await self._open()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RETRY_S if self._unwritable.reason or self._unsaved else None):
                    await self._came.wait()
            self._came.clear()
            await self._write()

    async def _open(self) -> None:
        while True:
            try:
                filled = await self.disk.run(self._fill)
            except OSError as error:
                self._unwritable.go_on(error)
                await asyncio.sleep(RETRY_S)
                continue
            self._unwritable.end()
            self._spooled.set()
            if self._spool.records:
                self._log.info("sink: records wait", records=self._spool.records, from_results=filled)
            return

    def _fill(self) -> int:
        """Open the spool; return how many records the results had and it had not. On the disk thread."""
        marks = self._spool.open(self._history.name, lambda: self._history.last_id)
        filled = 0
        try:
            for chunk in self._history.after(marks) if marks else ():
                filled += len(chunk)
                with contextlib.suppress(OSError):  # they are in memory then, and written later
                    self._spool.put(chunk)
        except OSError as error:
            self._log.error("sink: results cannot be read; some are not sent", reason=error.strerror)
        self._history.close()
        return filled

    async def _write(self) -> None:
        """Put into the spool what was taken, and what did not get there before; save what is to be saved."""
        batch = tuple(self._taken)
        self._taken.clear()
        self._taken_bytes = 0
        self._moving = len(batch)
        try:
            took = await self.disk.run(self._put, batch)
        except OSError as error:
            self._unwritable.go_on(error)
        else:
            if took:
                self._unwritable.end()
        self._moving = 0
        self._tell_dropped()
        self._spooled.set()

    def _put(self, batch: Sequence[Message]) -> bool:
        """Say whether the disk took something. Raises `OSError`."""
        written = self._spool.put(batch)
        return self._save_if_due() or written > 0

    def _save_if_due(self) -> bool:
        if not self._unsaved or self._clock() - self._saved_at < SAVE_S:
            return False
        self._saved_at = self._clock()
        self._spool.save()
        self._unsaved = False
        return True

    # --- and go out -------------------------------------------------------------------------------------
    async def next(self, most: int, most_bytes: int, wait_s: float = 0.0) -> Batch:
        """Return the oldest messages, once there is one; wait up to `wait_s` for the batch to be full."""
        give_up_at: float | None = None
        while True:
            self._spooled.clear()
            batch = await self._read(self._spool.peek, most, most_bytes)
            if not batch.messages:
                await self._take_off(batch)  # there may have been damaged ones
                await self._spooled.wait()
                continue
            give_up_at = give_up_at or self._clock() + wait_s
            left_s = give_up_at - self._clock()
            if batch.full or left_s <= 0:
                return batch
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._spooled.wait()

    async def sent(self, batch: Batch) -> None:
        """Take note that the receiver has confirmed a batch."""
        self._sent += len(batch.messages)
        await self._done(batch)

    async def refused(self, batch: Batch, reason: str) -> None:
        """Take note that the receiver does not want a batch, and never will."""
        self._refused += len(batch.messages)
        ids = [message.id for message in batch.messages]
        self._log.error("sink: records were refused and are not sent", ids=ids[:10], reason=reason)
        await self._done(batch)

    async def _done(self, batch: Batch) -> None:
        self._unsaved = True
        await self._take_off(batch)
        self._said_dropped = self._said_dropped and bool(self._waiting)
        self._progress.set()

    async def _take_off(self, batch: Batch) -> None:
        error = await self._read(self._confirm, batch)
        if error is not None:
            self._unwritable.go_on(error)
            self._came.set()  # `run` tries to save again; what is unsaved is sent twice at worst

    def _confirm(self, batch: Batch) -> OSError | None:
        """Take a batch off; return why that cannot be written down now, if so. Raises `OSError`."""
        self._spool.confirm(batch)
        try:
            self._save_if_due()
        except OSError as error:
            return error
        return None

    async def _read(
        self, job: Callable[Arguments, Result], *arguments: Arguments.args, **options: Arguments.kwargs
    ) -> Result:
        """Return what a job gives that reads the spool; while it cannot be read, try again: nothing is left out."""
        while True:
            try:
                result = await self.disk.run(job, *arguments, **options)
            except OSError as error:
                self._unreadable.go_on(error)
                await asyncio.sleep(RETRY_S)
            else:
                self._unreadable.end()
                return result

    def reached(self) -> None:
        """Take note that the receiver takes messages."""
        if not self._connected:
            self._log.info("sink: receiver reached", waiting=self._waiting)
        self._connected = True
        self._reasons = []

    def away(self, reason: str) -> None:
        """Take note that the receiver takes no messages now. Each reason is said once until it does again."""
        if reason not in self._reasons:
            self._log.warning("sink: receiver away, records wait", reason=reason, waiting=self._waiting)
        self._reasons = [*(said for said in self._reasons if said != reason), reason][-8:]
        self._connected = False
        self._progress.set()

    async def close(self, timeout_s: float) -> None:
        """Write down what there is, and end the thread; a disk that hangs is waited for `timeout_s` at most."""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self.disk.run(self._finish, tuple(self._taken))
        self._connected = False
        self._moving = 0
        self.disk.stop(0.1)

    def _finish(self, batch: Sequence[Message]) -> None:
        try:
            self._taken.clear()
            self._spool.put(batch)
            self._spool.save()
        finally:
            self._spool.close()
            self._history.close()

    # --- saying so --------------------------------------------------------------------------------------
    def _tell_dropped(self) -> None:
        dropped = self._spool.dropped + self._dropped
        if dropped > self._told_dropped and not self._said_dropped:
            self._said_dropped = True
            self._log.error(
                "sink: more records wait than may wait; the oldest are dropped",
                dropped=dropped,
                waiting=self._spool.records,
            )
        self._told_dropped = dropped
