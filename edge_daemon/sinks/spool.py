"""What a receiver has not confirmed yet: a queue on disk, first in, first out, bounded, whole after every kill.

    0000000007.spool    ID RECORD\\n  ID RECORD\\n  …     the oldest; up to `position.json` it is confirmed
    0000000008.spool    ID RECORD\\n  ID RECORD\\n        the youngest
    in memory           what cannot be written now

An id is made from its record, and so tells whether a line is sound. Each start begins a new segment. Where results
are in a file, a segment is synced only before the next one is begun: a power cut takes the end of the youngest one,
which is filled up from the results (`results_history`).
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from common.files import PASSING, lock_exclusively, make_directory, put_aside, sync_directory
from common.limits import KIB, MIB
from edge_daemon.sinks.messages import Message
from edge_daemon.sinks.spool_position import Position, read_position, write_position
from edge_daemon.sinks.spool_segment import GONE, Segment, index_of, line_of, path_of, segment_paths

log = structlog.get_logger()

MOST_MEMORY_BYTES = 4 * MIB
"""What cannot be written waits in memory up to this size; then the oldest of it is dropped."""
SHORT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE})
"""What keeps a sound file from being read at the start."""


@dataclass(frozen=True, slots=True)
class SpoolBound:
    """How much may wait for one receiver; beyond, the oldest is dropped, a segment at a time."""

    nbytes: int
    records: int

    @property
    def segment_bytes(self) -> int:
        return min(max(self.nbytes // 16, KIB), 4 * MIB)

    @property
    def segment_records(self) -> int:
        return max(self.records // 16, 1)


@dataclass(frozen=True, slots=True)
class Batch:
    """The oldest messages, and the number of the one that follows them. Damaged ones are left out.

    It is `full` when it has as many messages as were asked for, or no room for the one that follows.
    """

    end: int
    messages: tuple[Message, ...] = ()
    full: bool = False


class Spool:
    """A queue of messages on disk. Its methods block; one thread may call them, any thread its properties.

    Messages are numbered as they come. A segment holds a run of numbers, memory the last ones.
    """

    def __init__(self, directory: Path, bound: SpoolBound, *, synced: bool) -> None:
        self.directory = directory
        self._bound = bound
        self._synced = synced
        self._lock = -1
        self._opened = False
        self._segments: tuple[Segment, ...] = ()
        """Replaced as a whole: the event loop adds them up (`records`, `nbytes`) while the thread changes them."""
        self._writing = False
        """Whether the last segment may still be appended to."""
        self._next_index = 0
        self._memory: deque[Message] = deque()
        self._memory_bytes = 0
        self._end = 0
        """The number of the next message to come."""
        self._position = Position()
        self._saved = self._position
        self.dropped = 0
        self.damaged = 0

    @property
    def records(self) -> int:
        return sum(segment.records for segment in self._segments) + len(self._memory)

    @property
    def nbytes(self) -> int:
        return sum(segment.nbytes for segment in self._segments) + self._memory_bytes

    # --- opening ----------------------------------------------------------------------------------------
    def open(self, results: str, last_id: Callable[[], str]) -> tuple[str, ...]:
        """Find what is there; return the ids of records, one of which is the youngest that the spool was given.

        None: the spool begins now, after `last_id`, as there is none yet, or it followed other `results`.
        Raises `OSError`, also when another daemon uses the spool.
        """
        make_directory(self.directory)
        self._hold()
        kept = read_position(self.directory)
        paths = segment_paths(self.directory)
        begins = not paths if kept is None else kept.results not in (None, results)
        position = replace(kept or Position(), results=results)
        self._segments = ()
        self._end = 0
        for path in paths:
            self._find(path, position)
        self._next_index = max([position.segment, *(index_of(path) + 1 for path in paths)])
        self._position = replace(position, since=last_id()) if begins else position
        self._opened = True
        if begins:
            self.save(sync=True)
            return ()
        youngest = self._youngest()
        return (*([youngest] if youngest is not None else []), position.id, position.since)

    def _hold(self) -> None:
        """Keep other daemons from the spool until this process ends. Raises `OSError`."""
        if self._lock < 0:
            self._lock = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            lock_exclusively(self._lock)
        except BlockingIOError:
            raise OSError(errno.EBUSY, "another cleave-edge uses it") from None

    def _find(self, path: Path, position: Position) -> None:
        """Take a segment that is there into the queue, or remove it if all of it is confirmed."""
        index = index_of(path)
        if index < position.segment:
            path.unlink(missing_ok=True)
            return
        try:
            segment = Segment.found(path, position.offset if index == position.segment else 0, self._end)
        except OSError as error:
            if error.errno in PASSING | SHORT:
                raise
            log.error("spool: a file is damaged", kept=str(put_aside(path)), reason=error.strerror)
            return
        if segment.records:
            self._segments = (*self._segments, segment)
            self._end += segment.records
        else:
            path.unlink(missing_ok=True)

    def _youngest(self) -> str | None:
        """Return the id of the last sound message there is."""
        for segment in reversed(self._segments):
            ids = [message.id for message in segment.messages() if message is not None]
            if ids:
                return ids[-1]
        return None

    # --- putting ----------------------------------------------------------------------------------------
    def put(self, messages: Sequence[Message] = ()) -> int:
        """Take messages, and write what waits in memory; return how many were written.

        What is beyond the bound is dropped, the oldest first.
        Raises `OSError` when they cannot be written: they wait in memory then, and can be sent from there.
        """
        self._memory.extend(messages)
        self._memory_bytes += sum(map(_nbytes, messages))
        self._end += len(messages)
        written = 0
        try:
            while self._memory:
                self._check_opened()
                written += self._write_some()
        finally:
            while self._memory_bytes > MOST_MEMORY_BYTES:
                self.dropped += self._forget_in_memory()
            while self.records > self._bound.records or self.nbytes > self._bound.nbytes:
                self._drop_oldest()
        return written

    def _check_opened(self) -> None:
        if not self._opened:
            raise OSError(errno.EAGAIN, "the spool is not open yet")

    def _write_some(self) -> int:
        """Write as much of what is in memory as has room in the last segment, or in a new one; return how many.

        Raises `OSError`.
        """
        segment = self._segments[-1] if self._writing else self._begin_segment()
        lines: list[bytes] = []
        after = segment.end
        for message in self._memory:
            lines.append(line_of(message))
            after += len(lines[-1])
            full = after >= self._bound.segment_bytes
            if full or segment.records + len(lines) >= self._bound.segment_records:
                self._writing = False
                break
        try:
            segment.append(b"".join(lines), len(lines), sync=self._synced)
        except OSError:
            self._writing = False  # nothing follows what a failed write may have left
            if not segment.records:
                self._segments = self._segments[:-1]
                with contextlib.suppress(OSError):
                    segment.path.unlink(missing_ok=True)
            raise
        for _ in lines:
            self._forget_in_memory()
        return len(lines)

    def _begin_segment(self) -> Segment:
        """Begin a file; the one before it is synced first, or there could be a hole. Raises `OSError`."""
        self._remove_if_empty()
        if self._segments:
            with contextlib.suppress(OSError):
                self._segments[-1].sync()
        make_directory(self.directory)
        segment = Segment(path_of(self.directory, self._next_index), self._next_index, self._memory_first)
        self._next_index += 1
        segment.create()
        if self._synced:
            sync_directory(self.directory)
        self._segments = (*self._segments, segment)
        self._writing = True
        return segment

    @property
    def _memory_first(self) -> int:
        return self._end - len(self._memory)

    def _forget_in_memory(self) -> int:
        self._memory_bytes -= _nbytes(self._memory.popleft())
        return 1

    def _drop_oldest(self) -> None:
        if self._segments:
            self.dropped += self._segments[0].records
            self._remove_oldest()
        else:
            self.dropped += self._forget_in_memory()

    # --- taking -----------------------------------------------------------------------------------------
    def peek(self, most: int, most_bytes: int) -> Batch:
        """Return the oldest messages, at least one if there is a sound one, and no more than asked for.

        Raises `OSError` when the oldest cannot be read now: then none may be taken off.
        """
        taken: list[Message] = []
        room, end = most_bytes, 0
        try:
            for number, message in self._numbered():
                if message is not None:
                    room -= _nbytes(message)
                    if taken and (len(taken) == most or room < 0):
                        return Batch(number, tuple(taken), full=True)
                    taken.append(message)
                end = number + 1
        except OSError:
            if not taken:
                raise
            return Batch(end, tuple(taken))
        return Batch(self._end, tuple(taken), full=len(taken) == most or room <= 0)

    def _numbered(self) -> Iterator[tuple[int, Message | None]]:
        """Yield all messages with their numbers; damaged ones are none, and those of a file that is gone missing.

        Raises `OSError`.
        """
        for segment in self._segments:
            try:
                yield from zip(
                    range(segment.first, segment.first + segment.records), segment.messages(), strict=False
                )
            except OSError as error:
                if error.errno not in GONE:
                    raise
                log.error("spool: a file cannot be read", path=str(segment.path), reason=error.strerror)
        yield from enumerate(self._memory, self._memory_first)

    def confirm(self, batch: Batch) -> None:
        """Take a batch, and what was before it, off the queue. Raises `OSError`: then all of it is still there."""
        before = self.records
        for segment in reversed(self._segments):  # only the youngest of them is read, and may fail
            if segment.first < batch.end:
                self._skip(segment, min(batch.end - segment.first, segment.records))
        while self._segments and not self._segments[0].records:
            if len(self._segments) == 1 and self._writing:
                break
            self._remove_oldest()
        while self._memory and self._memory_first < batch.end:
            self._forget_in_memory()
        self.damaged += max(before - self.records - len(batch.messages), 0)
        if batch.messages:
            self._position = replace(self._position, id=batch.messages[-1].id)

    def _skip(self, segment: Segment, count: int) -> None:
        try:
            segment.skip(count)
        except OSError as error:
            if error.errno not in GONE:
                raise
            segment.skip(segment.records)  # what is left of it is gone, too

    def save(self, *, sync: bool = False) -> None:
        """Write down how far the queue is confirmed. Raises `OSError`."""
        head = self._segments[0] if self._segments else None
        index, offset = (head.index, head.start) if head is not None else (self._next_index, 0)
        position = replace(self._position, segment=index, offset=offset)
        if position != self._saved and self._opened:
            write_position(self.directory, position, sync=sync)
            self._position = self._saved = position

    def close(self) -> None:
        """Let another daemon have the spool."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
        self._opened = False

    def _remove_oldest(self) -> None:
        """Remove the oldest segment; first, write down that it is done with."""
        segment, *rest = self._segments
        self._segments = tuple(rest)
        self._writing = self._writing and bool(self._segments)
        with contextlib.suppress(OSError):
            self.save()
        with contextlib.suppress(OSError):
            segment.path.unlink(missing_ok=True)

    def _remove_if_empty(self) -> None:
        if len(self._segments) == 1 and not self._segments[0].records:
            self._remove_oldest()


def _nbytes(message: Message) -> int:
    """Return what a message takes in a file."""
    return len(message.id) + len(message.record) + 2
