"""The points of a ParetoPipe experiment: kept as they come, and the front among them."""

from __future__ import annotations

from pathlib import Path

from benchmarks.pareto_points import Point, PointFile, front


def point(cut: str, latency_ms: float, fps: float) -> Point:
    return Point(
        model="m", rate_bps=2e7, delay_ms=1.0, cut=cut, payload_bytes=9, predicted_latency_ms=1.0,
        latency_ms=latency_ms, latency_least_ms=1.0, latency_most_ms=2.0, predicted_fps=1.0, fps=fps,
        predicted_head_ms=1.0, head_ms=1.0, link_ms=1.0, predicted_tail_ms=1.0, tail_ms=1.0, fallbacks=0.0,
    )  # fmt: skip


def test_points_are_found_again_after_a_restart(tmp_path: Path) -> None:
    """What was measured is on disk as soon as it is added, and is not measured again."""
    path = tmp_path / "points.csv"
    PointFile(path).add(point("after a, b", 12.5, 8.0))
    again = PointFile(path)
    assert again.points == [point("after a, b", 12.5, 8.0)]
    assert ("m", 2e7, 1.0, "after a, b") in again
    assert ("m", 2e7, 2.0, "after a, b") not in again
    again.add(point("edge-only", 30.0, 3.0))
    assert [p.cut for p in PointFile(path).points] == ["after a, b", "edge-only"]


def test_the_front_keeps_no_ties() -> None:
    """A point that another one equals in one measure and beats in the other is not on the front."""
    best = point("best", 10, 5)
    fast = point("fast", 20, 9)
    others = [point("slower", 12, 5), point("lower", 10, 4), point("twin", 20, 9), point("worst", 30, 1)]
    assert front([*others, fast, best]) in ([best, fast], [best, point("twin", 20, 9)])
