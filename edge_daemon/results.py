"""Results: one JSON object a line, one line a frame."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, cast

import structlog

from common.errors import ConfigurationError
from edge_daemon.frame import Frame, ImageFile

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Label:
    """One of the top-5 classes."""

    index: int
    label: str
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Durations:
    """Where a frame's time went, in ms; none where it did not go there.

    All are differences of the edge's own clock, except the cloud's `tail_ms` and `cloud_queue_ms`. `link_ms`
    is the round trip less the cloud's own duration. `queue_ms` passed before the frame's head began and is
    not in `total_ms`.
    """

    queue_ms: float
    head_ms: float | None = None
    encode_ms: float | None = None
    link_ms: float | None = None
    cloud_queue_ms: float | None = None
    tail_ms: float | None = None
    total_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameRecord:
    """What came of one frame.

    `answered_at` is in Unix seconds. `ran` says where: edge, cloud, split, or `edge after cloud` when the cloud
    let the frame down (`fallback` says how).
    """

    frame: Frame
    top5: tuple[Label, ...] = ()
    epoch: int
    cut: str
    mode: str
    sustainable_fps: float | None
    ran: str
    fallback: str | None = None
    bytes_up: int = 0
    durations: Durations
    error: str | None = None
    weights: str = "default"
    answered_at: float = field(default_factory=time.time)

    def to_json(self) -> str:
        times = {name: _round(ms) for name, ms in asdict(self.durations).items()}
        captured_at = datetime.fromtimestamp(self.frame.file.mtime_ns / 1e9, UTC)
        document = {
            "frame": self.frame.number,
            "name": self.frame.file.name,
            "captured_at": captured_at.isoformat(timespec="milliseconds"),
            "answered_at": datetime.fromtimestamp(self.answered_at, UTC).isoformat(timespec="milliseconds"),
            "top5": [
                {"index": t.index, "label": t.label, "probability": round(t.probability, 6)}
                for t in self.top5
            ],
            "plan": {
                "epoch": self.epoch,
                "cut": self.cut,
                "mode": self.mode,
                "sustainable_fps": _round(self.sustainable_fps),
            },
            "ran": self.ran,
            "bytes_up": self.bytes_up,
            "ms": {name.removesuffix("_ms"): ms for name, ms in times.items()},
            "error": self.error,
            "file": {"size": self.frame.file.size, "mtime_ns": self.frame.file.mtime_ns},
        }
        if self.fallback:
            document["fallback"] = self.fallback
        if self.weights.startswith("random:"):
            document["weights"] = f"{self.weights}: the answer means nothing"
        text = json.dumps(document, ensure_ascii=False)
        # A name's bytes that are no text leave as JSON's escapes, which are read back as they were.
        return text.encode("utf-8", "backslashreplace").decode()


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


class JsonLinesSink:
    """Appends records to a file, or writes them to stdout (`-`)."""

    def __init__(self, target: str) -> None:
        self.answered: set[ImageFile] = set()
        self.last_number = -1
        self._file: BinaryIO | None = None
        if target != "-":
            self._file = self._open(Path(target).expanduser())
            if self.answered:
                log.info("results continued", path=target, frames=len(self.answered))

    def write(self, record: FrameRecord) -> None:
        """Append a record, whole or not at all. Raises `OSError` when that cannot be done now."""
        line = (record.to_json() + "\n").encode()
        if self._file is None:
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
            return
        before = self._file.seek(0, os.SEEK_END) if self._file.seekable() else 0
        try:
            rest = memoryview(line)
            while rest.nbytes:
                rest = rest[self._file.write(rest) :]
        except OSError:
            with contextlib.suppress(OSError):  # a device has no length
                self._file.truncate(before)  # half a line is none
            raise

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        else:  # or the interpreter complains when it ends, after `| head` has seen enough
            with contextlib.suppress(OSError):
                sys.stdout.flush()

    def _open(self, path: Path) -> BinaryIO:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            whole = self._read(path)
            file = path.open("ab", buffering=0)
        except OSError as error:
            raise ConfigurationError(f"CLEAVE_EDGE_RESULTS={path}: {error.strerror}") from error
        if whole is not None:
            log.warning("results: a torn last line was cut off; its frame is done again", path=str(path))
            os.truncate(path, whole)
        return cast(BinaryIO, file)

    def _read(self, path: Path) -> int | None:
        """Take note of the frames that have results; return where a torn last line begins, if there is one."""
        if not path.is_file():  # there is none yet, or it is a device or a pipe
            return None
        at = 0
        with path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    return at
                at += len(line)
                try:
                    record = json.loads(line)
                    found = ImageFile(record["name"], record["file"]["size"], record["file"]["mtime_ns"])
                    number = int(record["frame"])
                    self.answered.add(found)
                except (ValueError, KeyError, TypeError, OverflowError):
                    continue  # not ours; leave it
                self.last_number = max(self.last_number, number)
        return None


def top5_of(rows: Sequence[tuple[int, str, float]]) -> tuple[Label, ...]:
    """Make the record's form of labelled classes."""
    return tuple(Label(*row) for row in rows)
