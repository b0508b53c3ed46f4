"""What a results file holds, read at the start: whose results are there, and what a kill or the disk has damaged."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.files import sync_directory, write_all
from edge_daemon.frame import ImageFile, KnownFrame, VideoFrame

MOST_LINE_BYTES = 1024 * 1024
"""No record is longer; garbage without a line's end is read in pieces of this size."""
BEGINNING = b'{"frame": '
"""How every record begins: a last line that does so and has no end was torn by a kill."""


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes of a file, from `start` up to `end`."""

    start: int
    end: int


@dataclass(slots=True)
class Scan:
    """What was found: the frames that have records, and what is no whole line of text.

    `torn_at` is where a torn last line begins. `repeated` counts records of files that had one before.
    """

    answered: set[KnownFrame] = field(default_factory=set)
    last_number: int = -1
    repeated: int = 0
    damaged: list[Span] = field(default_factory=list)
    torn_at: int | None = None
    nbytes: int = 0

    @property
    def damaged_bytes(self) -> int:
        return sum(span.end - span.start for span in self.damaged)

    def sound(self) -> list[Span]:
        """Return the parts between those that are damaged or torn."""
        starts = [0, *(span.end for span in self.damaged)]
        ends = [*(span.start for span in self.damaged), self.nbytes if self.torn_at is None else self.torn_at]
        return [Span(start, end) for start, end in zip(starts, ends, strict=True)]

    def add(self, other: Scan) -> None:
        """Take note of whose records another file has."""
        self.repeated += other.repeated + len(self.answered & other.answered)
        self.answered |= other.answered
        self.last_number = max(self.last_number, other.last_number)

    def take(self, line: bytes) -> None:
        """Take note of what follows in the file: a line, or a piece of something too long to be one."""
        start, self.nbytes = self.nbytes, self.nbytes + len(line)
        if not line.endswith(b"\n") and len(line) < MOST_LINE_BYTES and _may_be_torn(line):
            self.torn_at = start
        elif not line.endswith(b"\n") or not (found := _read(line)):
            last = self.damaged[-1] if self.damaged else None
            if last is not None and last.end == start:
                self.damaged[-1] = Span(last.start, self.nbytes)
            else:
                self.damaged.append(Span(start, self.nbytes))
        elif isinstance(found, tuple):
            frame, number = found
            if frame is not None:
                self.repeated += frame in self.answered
                self.answered.add(frame)
            self.last_number = max(self.last_number, number)


def scan(path: Path) -> Scan:
    """Read a results file. Raises `OSError`."""
    found = Scan()
    with path.open("rb") as file:
        while line := file.readline(MOST_LINE_BYTES):
            found.take(line)
    return found


def cut_out(path: Path, found: Scan) -> int:
    """Move the damaged parts of a results file into one beside it; return the descriptor of what replaces it.

    The descriptor appends to the new file, which is whole, on the disk and in its place. At every moment each record
    is in the one or the other. Raises `OSError`; the file is as it was then.
    """
    with path.open("rb") as whole:
        with aside(path).open("ab") as kept:
            for piece in _pieces(whole.fileno(), found.damaged):
                kept.write(piece)
            kept.flush()
            os.fsync(kept.fileno())
        sync_directory(path.parent)
        name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(name[0])
        try:
            descriptor = os.open(name[1], os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
            try:
                for piece in _pieces(whole.fileno(), found.sound()):
                    write_all(descriptor, piece)
                os.fchmod(descriptor, os.fstat(whole.fileno()).st_mode & 0o7777)
                os.fsync(descriptor)
                os.replace(name[1], path)
                sync_directory(path.parent)
            except BaseException:
                os.close(descriptor)
                raise
        except BaseException:
            Path(name[1]).unlink(missing_ok=True)
            raise
    return descriptor


def aside(path: Path) -> Path:
    """Where damaged parts of a results file are kept."""
    return path.with_name(f"{path.name}.damaged")


def _may_be_torn(line: bytes) -> bool:
    return line.startswith(BEGINNING) or BEGINNING.startswith(line)


def _read(line: bytes) -> tuple[KnownFrame | None, int] | bool:
    """Return what the frame of a record is known by, if anything, and its number.

    Of what is no record, return whether it is at least somebody's text.
    """
    if not line.strip():
        return True
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return False
    try:
        found = _known_by(record["name"], record["file"])
        hash(found)
        return found, int(record["frame"])
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return True  # not ours; leave it


def _known_by(name: str, file: dict[str, Any] | None) -> KnownFrame | None:
    """Make the frame's origin of what `to_record` kept; a camera's has none."""
    if file is None:
        return None
    if "index" not in file:
        return ImageFile(name, file["size"], file["mtime_ns"])
    index = file["index"]
    return VideoFrame(ImageFile(name.removesuffix(f"#{index}"), file["size"], file["mtime_ns"]), index)


def _pieces(descriptor: int, spans: list[Span]) -> Iterator[bytes]:
    """Read parts of a file, in pieces that fit into memory."""
    for span in spans:
        at = span.start
        while at < span.end and (piece := os.pread(descriptor, min(MOST_LINE_BYTES, span.end - at), at)):
            at += len(piece)
            yield piece
