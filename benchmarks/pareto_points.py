"""The measured points of a ParetoPipe experiment, one line of CSV each, kept as they come."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

Key = tuple[str, float, float, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One cut on one link: what was measured, and what the planner predicts.

    Times in ms; `latency_ms` is the median of closed-loop runs, with the least and the most beside it; `fps`
    is the saturated rate. `delay_ms` is one way.
    """

    model: str
    rate_bps: float
    delay_ms: float
    cut: str
    payload_bytes: int
    predicted_latency_ms: float
    latency_ms: float
    latency_least_ms: float
    latency_most_ms: float
    predicted_fps: float
    fps: float
    predicted_head_ms: float
    head_ms: float
    link_ms: float
    predicted_tail_ms: float
    tail_ms: float
    fallbacks: float

    @property
    def key(self) -> Key:
        return (self.model, self.rate_bps, self.delay_ms, self.cut)


class PointFile:
    """A CSV file of points: read when opened, appended to point by point."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.points: list[Point] = []
        if path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                self.points = [_read(row) for row in csv.DictReader(file)]
        self._keys = {point.key for point in self.points}

    def __contains__(self, key: Key) -> bool:
        return key in self._keys

    def add(self, point: Point) -> None:
        is_new = not self._path.exists()
        with self._path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(Point)])
            if is_new:
                writer.writeheader()
            writer.writerow({name: _show(value) for name, value in asdict(point).items()})
        self.points.append(point)
        self._keys.add(point.key)


def front(points: Sequence[Point]) -> list[Point]:
    """Return the points that no other one equals or beats in both latency and throughput, by latency."""
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (p.latency_ms, -p.fps)):
        if not best or point.fps > best[-1].fps:
            best.append(point)
    return best


def _show(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value


def _read(row: dict[str, str]) -> Point:
    values: dict[str, object] = {}
    for field in fields(Point):
        text = row[field.name]
        values[field.name] = (
            text if field.type == "str" else int(text) if field.type == "int" else float(text)
        )
    return Point(**values)  # type: ignore[arg-type]
