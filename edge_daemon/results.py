"""Results: one JSON object a line, one line a frame."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

from edge_daemon.frame import Frame


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
        document = {
            "frame": self.frame.number,
            "name": self.frame.origin.name,
            "captured_at": captured_at(self.frame.origin.captured_ns),
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
            "file": self.frame.origin.to_record(),
        }
        if self.fallback:
            document["fallback"] = self.fallback
        if self.weights.startswith("random:"):
            document["weights"] = f"{self.weights}: the answer means nothing"
        text = json.dumps(document, ensure_ascii=False)
        # A name's bytes that are no text leave as JSON's escapes, which are read back as they were.
        return text.encode("utf-8", "backslashreplace").decode()


def captured_at(captured_ns: int) -> str | None:
    """Return a time of capture (Unix time, in ns) as text; None beyond the years 1 to 9999: a file may have any."""
    try:
        return datetime.fromtimestamp(captured_ns / 1e9, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return None


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def top5_of(rows: Sequence[tuple[int, str, float]]) -> tuple[Label, ...]:
    """Make the record's form of labelled classes."""
    return tuple(Label(*row) for row in rows)
