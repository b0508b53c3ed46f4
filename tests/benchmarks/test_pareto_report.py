"""The picture and the summary of a ParetoPipe experiment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.pareto_report import draw_front, write_summary
from tests.benchmarks.test_pareto_points import point

SVG = "{http://www.w3.org/2000/svg}"


def test_every_cut_is_a_dot_and_the_planners_are_ringed() -> None:
    """Dots carry cut and figures as titles; the rings are round the chosen cuts, whatever their names."""
    points = [point("after a<b", 10, 5), point("edge-only", 30, 3), point("cloud-only", 12, 9)]
    chosen = {"planned for latency": "after a<b", "planned for throughput": "cloud-only"}
    root = ElementTree.fromstring(draw_front("m & link", points, chosen))
    circles = list(root.iter(f"{SVG}circle"))
    dots = [c.findtext(f"{SVG}title") for c in circles if c.get("fill") != "none"]
    rings = [c.findtext(f"{SVG}title") for c in circles if c.get("fill") == "none"]
    assert dots == [
        "after a<b: 10 ms, 5.0 frames/s",
        "edge-only: 30 ms, 3.0 frames/s",
        "cloud-only: 12 ms, 9.0 frames/s",
    ]
    assert rings == list(chosen)


def test_the_summary_counts_predictions_within_fifteen_percent(tmp_path: Path) -> None:
    """Of a point predicted 10% low and one predicted 40% high, half are within 15%."""
    good = replace(point("a", 100, 10), predicted_latency_ms=90, predicted_fps=10)
    bad = replace(point("b", 100, 10), predicted_latency_ms=140, predicted_fps=10)
    text = write_summary([good, bad], tmp_path)
    assert "latency predicted within 15%: 50.0% of the points" in text
    assert "worst +40.0%" in text
    assert "throughput predicted within 15%: 100.0% of the points" in text
    assert (tmp_path / "summary.txt").read_text() == text
