"""The points of a ParetoPipe experiment: a CSV file of them, and the front among them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One cut on one link: what was measured, and what the planner predicts.

    Times in ms; `latency_ms` is the median of closed-loop runs, with the least and the most beside it; `fps`
    is the saturated rate. `delay_ms` is one way. `profiled_…` is predicted from the profiles as they were taken,
    `predicted_…` with the devices' speed of then.
    """

    model: str
    rate_bps: float
    delay_ms: float
    cut: str
    payload_bytes: int
    profiled_latency_ms: float
    predicted_latency_ms: float
    latency_ms: float
    latency_least_ms: float
    latency_most_ms: float
    profiled_fps: float
    predicted_fps: float
    fps: float
    predicted_head_ms: float
    head_ms: float
    link_ms: float
    predicted_tail_ms: float
    tail_ms: float
    fallbacks: int


def write_points(points: Sequence[Point], path: Path) -> None:
    """Write points as CSV, a header first, times to a microsecond."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Point)])
        writer.writeheader()
        for point in points:
            writer.writerow({name: _show(value) for name, value in asdict(point).items()})


def front(points: Sequence[Point]) -> list[Point]:
    """Return the points that no other one equals or beats in both latency and throughput, by latency."""
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (p.latency_ms, -p.fps)):
        if not best or point.fps > best[-1].fps:
            best.append(point)
    return best


def _show(value: object) -> object:
    return round(value, 3) if isinstance(value, float) else value
