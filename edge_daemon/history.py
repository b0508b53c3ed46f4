"""The edge's last quarter of an hour, for a page that is opened: bounded, and cheap to keep while nobody looks.

A frame costs one append, and an addition to its second.
"""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from common.number_ring import NumberRing
from common.rate import Rate
from edge_daemon.results import FrameRecord

SECONDS = 900
FRAMES = 64
"""Frames whose times are remembered one by one."""
RECENT = 32
"""Frames of which the median latency is told."""


@dataclass(frozen=True, slots=True)
class FrameTimes:
    """Where one frame's time went. `began` is on `time.perf_counter`'s clock: when its head, or its sending, did."""

    number: int
    ran: str
    cut: str
    began: float
    queue_ms: float
    head_ms: float | None
    encode_ms: float | None
    link_ms: float | None
    cloud_queue_ms: float | None
    tail_ms: float | None
    total_ms: float
    failed: bool

    @classmethod
    def of(cls, record: FrameRecord) -> FrameTimes:
        took = record.durations
        return cls(
            number=record.frame.number,
            ran=record.ran,
            cut=record.cut,
            began=record.frame.seen_at + took.queue_ms / 1e3,
            queue_ms=took.queue_ms,
            head_ms=took.head_ms,
            encode_ms=took.encode_ms,
            link_ms=took.link_ms,
            cloud_queue_ms=took.cloud_queue_ms,
            tail_ms=took.tail_ms,
            total_ms=took.total_ms,
            failed=record.error is not None,
        )

    def to_page(self) -> dict[str, Any]:
        """Return what the page draws it by, in ms."""
        parts = (
            ("head", self.head_ms),
            ("encode", self.encode_ms),
            ("link", self.link_ms),
            ("queue", self.cloud_queue_ms),
            ("tail", self.tail_ms),
        )
        return {
            "n": self.number,
            "ran": self.ran,
            "cut": self.cut,
            "began": round(self.began * 1e3, 2),
            "total": round(self.total_ms, 2),
            "failed": self.failed,
            "parts": {name: round(ms, 2) for name, ms in parts if ms},
        }


class History:
    """Remembers frames as they come, and bandwidths as they are told. `clock` is monotonic."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seconds = NumberRing(4, SECONDS)
        """Unix second, frames answered in it, the sum of what they took, and the most, in ms."""
        self._bandwidths = NumberRing(2, SECONDS)
        """Unix second, bit/s."""
        self._answered = Rate(clock())
        self.frames: deque[FrameTimes] = deque(maxlen=FRAMES)
        self.seen = 0
        """Frames so far: who remembers it knows how many are new."""

    def saw(self, record: FrameRecord) -> None:
        """Take note of a frame's record."""
        self.frames.append(FrameTimes.of(record))
        self.seen += 1
        if record.error is not None:
            return
        self._answered.note(self._clock())
        second, took_ms = int(record.answered_at), record.durations.total_ms
        latest = self._seconds.latest
        if latest is None or latest[0] != second:
            self._seconds.append(second, 1, took_ms, took_ms)
        else:
            _, frames, sum_ms, most_ms = latest
            self._seconds.replace_latest(second, frames + 1, sum_ms + took_ms, max(most_ms, took_ms))

    def saw_bandwidth(self, at: float, bps: float | None) -> None:
        """Take note of what the link is believed to carry at `at`, in Unix seconds; none: there is no link: 0."""
        latest = self._bandwidths.latest
        if latest is None or latest[0] != int(at):
            self._bandwidths.append(int(at), bps or 0.0)

    def new_frames(self, since: int) -> list[FrameTimes]:
        """Return the frames after the first `since` ones, as far as they are remembered."""
        new = min(self.seen - since, len(self.frames))
        return [*self.frames][-new:] if new > 0 else []

    def latencies(self, since: int = 0) -> list[tuple[int, float, float]]:
        """Return (Unix second, mean, worst) in ms of each second from `since` on in which frames were answered."""
        return [
            (int(at), round(sum_ms / frames, 2), round(most_ms, 2))
            for at, frames, sum_ms, most_ms in self._seconds
            if at >= since
        ]

    def bandwidths(self, since: int = 0) -> list[tuple[int, float]]:
        """Return (Unix second, bit/s) as they were told from `since` on."""
        return [(int(at), bps) for at, bps in self._bandwidths if at >= since]

    def recent(self) -> dict[str, Any]:
        """Return what the status says of the latest frames."""
        took = [frame.total_ms for frame in [*self.frames][-RECENT:] if not frame.failed]
        return {
            "answered_per_s": round(self._answered.per_second(self._clock()), 2),
            "median_ms": round(statistics.median(took), 2) if took else None,
            "worst_ms": round(max(took), 2) if took else None,
            "frames": len(took),
        }
