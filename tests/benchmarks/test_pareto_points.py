"""The points of a ParetoPipe experiment: the file of them, and the front among them."""

from __future__ import annotations

import csv
from pathlib import Path

from benchmarks.pareto_points import Point, front, write_points


def point(cut: str, latency_ms: float, fps: float) -> Point:
    return Point(
        model="m", rate_bps=2e7, delay_ms=1.0, cut=cut, payload_bytes=9, profiled_latency_ms=1.0,
        predicted_latency_ms=1.0, latency_ms=latency_ms, latency_least_ms=1.0, latency_most_ms=2.0,
        profiled_fps=1.0, predicted_fps=1.0, fps=fps, predicted_head_ms=1.0, head_ms=1.0, link_ms=1.0,
        predicted_tail_ms=1.0, tail_ms=1.0, fallbacks=0,
    )  # fmt: skip


def test_points_are_written_for_others_to_read(tmp_path: Path) -> None:
    """A line a point under a header; a cut's commas do not confuse it."""
    path = tmp_path / "points.csv"
    write_points([point("after a, b", 12.34567, 8.0), point("edge-only", 30.0, 3.0)], path)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["cut"], row["latency_ms"], row["fps"]) for row in rows] == [
        ("after a, b", "12.346", "8.0"),
        ("edge-only", "30.0", "3.0"),
    ]


def test_the_front_keeps_no_ties() -> None:
    """A point that another one equals in one measure and beats in the other is not on the front."""
    best = point("best", 10, 5)
    fast = point("fast", 20, 9)
    others = [point("slower", 12, 5), point("lower", 10, 4), point("twin", 20, 9), point("worst", 30, 1)]
    assert front([*others, fast, best]) in ([best, fast], [best, point("twin", 20, 9)])
