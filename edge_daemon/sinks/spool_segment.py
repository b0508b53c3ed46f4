"""One file of a spool: lines of an id and its record, appended, read from the front, removed as a whole."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from common.files import write_all
from edge_daemon.sinks.messages import Message

ENDING = ".spool"
MOST_LINE_BYTES = 1024 * 1024
"""No record is longer; garbage without a line's end counts as lines of this size."""
GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EBADMSG, errno.EUCLEAN})
"""What says that a file, or what it held, is there no more. Any other error may pass (no descriptor is left, a disk
or a server does not answer), and then all of it is there."""


@dataclass(slots=True)
class Segment:
    """Lines of one file, from byte `start` up to byte `end`: `records` of them, numbered from `first` on."""

    path: Path
    index: int
    first: int
    start: int = 0
    end: int = 0
    records: int = 0

    @property
    def nbytes(self) -> int:
        return self.end - self.start

    @classmethod
    def found(cls, path: Path, start: int, first: int) -> Segment:
        """Read how much there is from `start` on; cut a torn last line off. Raises `OSError`."""
        size = path.stat().st_size
        segment = cls(path, index_of(path), first, min(start, size), size)
        if not segment._begins_a_line():
            segment.start = 0  # then some are sent twice, and none is lost
        at = segment.start
        for line in segment._pieces():
            if not line.endswith(b"\n") and len(line) < MOST_LINE_BYTES:
                os.truncate(path, at)
                segment.end = at
                break
            segment.records += 1
            at += len(line)
        return segment

    def create(self) -> None:
        """Have an empty file. Raises `OSError`."""
        os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))

    def append(self, lines: bytes, records: int, *, sync: bool) -> None:
        """Append whole lines: all, or none, and then `OSError` is raised and nothing may follow in this file."""
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            write_all(descriptor, lines)
            if sync:
                os.fsync(descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, self.end)
            raise
        finally:
            os.close(descriptor)
        self.end += len(lines)
        self.records += records

    def sync(self) -> None:
        """Have what was appended survive a power cut. Raises `OSError`."""
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def messages(self) -> Iterator[Message | None]:
        """Yield what the lines hold; None for one that is damaged. Raises `OSError`."""
        return map(parse_line, self._pieces())

    def skip(self, records: int) -> None:
        """Have the segment begin so many lines later. Raises `OSError`, but not if that is after the last one."""
        if records == self.records:
            self.start = self.end
        else:
            self.start += sum(len(line) for _, line in zip(range(records), self._pieces(), strict=False))
        self.first += records
        self.records -= records

    def _pieces(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            file.seek(self.start)
            left = self.nbytes
            while left > 0 and (line := file.readline(min(left, MOST_LINE_BYTES))):
                left -= len(line)
                yield line

    def _begins_a_line(self) -> bool:
        if self.start == 0:
            return True
        with self.path.open("rb") as file:
            file.seek(self.start - 1)
            return file.read(1) == b"\n"


def line_of(message: Message) -> bytes:
    """Return a message as it is in a file."""
    return b"%s %s\n" % (message.id.encode(), message.record)


def parse_line(line: bytes) -> Message | None:
    """Return what `line_of` made a line of; none if it is not as it was."""
    found, space, record = line.removesuffix(b"\n").partition(b" ")
    message = Message.of(record) if space else None
    return message if message is not None and message.id.encode() == found else None


def index_of(path: Path) -> int:
    return int(path.name.removesuffix(ENDING))


def path_of(directory: Path, index: int) -> Path:
    return directory / f"{index:010d}{ENDING}"


def segment_paths(directory: Path) -> list[Path]:
    """Return the segments' paths, the oldest first."""
    found = [path for path in directory.glob(f"*{ENDING}") if path.name.removesuffix(ENDING).isdecimal()]
    return sorted(found, key=index_of)
