import itertools
import json
import math
import random
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from common.partition.problem_file import write_problem
from edge_daemon.commands import map_bandwidth
from edge_daemon.commands.bandwidth_chart import Curve, Panel, draw
from tests.graphs import inception_problem, wide_problem

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def inception(tmp_path: Path) -> Path:
    path = tmp_path / "inception.json"
    write_problem(path, inception_problem(random.Random(7), 17))
    return path


def run_map(*arguments: str | Path) -> int:
    return map_bandwidth.main([str(argument) for argument in arguments])


def test_the_table_tells_intervals_and_both_ends(inception: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """From 100 kbit/s to 10 Gbit/s: edge-only first, cloud-only at last, interior cuts between."""
    assert run_map("--problem", inception, "--rtt-ms", "5") == 0
    out, err = capfd.readouterr()
    assert err == ""
    latency = out.split("Most frames per second")[0]
    assert re.search(r"100 kbit/s +2\.18 Mbit/s +edge-only +454\.6 +454\.6 +14,467 → 728\.5", latency)
    assert re.search(r"10 Gbit/s +cloud-only", latency)
    assert "after b7.2.0" in latency


def test_the_json_has_the_same_in_full(inception: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Intervals join without gaps; at each end the plan is no worse than edge-only and cloud-only."""
    assert run_map("--problem", inception, "--json") == 0
    document = json.loads(capfd.readouterr().out)
    for measure, better in (("latency", min), ("throughput", max)):
        intervals = document[measure]
        assert (intervals[0]["from_bps"], intervals[-1]["to_bps"]) == (1e5, 1e10)
        for one, following in itertools.pairwise(intervals):
            assert one["to_bps"] == following["from_bps"]
        key = {"latency": "latency_ms", "throughput": "sustainable_fps"}[measure]
        for interval in intervals:
            for end in ("at_from", "at_to"):
                values = {name: point[key] for name, point in interval[end].items()}
                assert values["plan"] == pytest.approx(better(values.values()))


def test_the_picture_is_valid_and_complete(inception: Path, tmp_path: Path) -> None:
    """Two panels with three curves each, inside the picture, and a dashed line at each change of the cut."""
    path = tmp_path / "map.svg"
    assert run_map("--problem", inception, "--svg", path) == 0
    root = ElementTree.parse(path).getroot()
    curves = root.findall(f"{SVG}polyline")
    assert len(curves) == 6
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for curve in curves:
        for point in curve.attrib["points"].split():
            x, y = (float(value) for value in point.split(","))
            assert 0 <= x <= width
            assert 0 <= y <= height
    names = [text.text for text in root.findall(f"{SVG}text")]
    assert [names.count(name) for name in ("plan", "edge only", "cloud only")] == [2, 2, 2]
    dashed = [line for line in root.findall(f"{SVG}line") if "stroke-dasharray" in line.attrib]
    assert len(dashed) > 10


def test_too_many_cuts_leave_the_latency(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Without a frontier the latency is mapped by minimum cuts, and what is missing is said."""
    path = tmp_path / "wide.json"
    write_problem(path, wide_problem(random.Random(7), 120))
    assert run_map("--problem", path, "--svg", tmp_path / "map.svg") == 0
    assert "not mapped: too many cuts" in capfd.readouterr().out
    assert run_map("--problem", path, "--json") == 0
    assert json.loads(capfd.readouterr().out)["throughput"] is None


def test_a_picture_that_cannot_be_written_is_one_line(
    inception: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The path is named, with status 2."""
    assert run_map("--problem", inception, "--svg", "/no/such/map.svg") == 2
    assert capfd.readouterr().err == "cleave-edge map: /no/such/map.svg: No such file or directory\n"


def test_names_are_escaped_and_infinite_values_left_out() -> None:
    """A chart is well-formed whatever it is called, and without a place for infinity or zero."""
    points = [(1e6, math.inf), (1e7, 5.0), (1e8, 0.0), (1e9, 7.0)]
    root = ElementTree.fromstring(draw("a < b & c", [Panel("<y>", [Curve('"x"', points)], [1e8])]))
    (curve,) = root.findall(f"{SVG}polyline")
    assert len(curve.attrib["points"].split()) == 2


def test_nothing_to_draw_is_said() -> None:
    """All values infinite: a sentence instead of a panel."""
    assert "nothing to draw" in draw("t", [Panel("y", [Curve("plan", [(1e6, math.inf)])], [])])
