"""`cleave-edge map`: where to cut a model at every bandwidth, as a table, as JSON, and as a picture."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from common.partition.bandwidth_map import Interval, least_bottleneck_map, least_latency_map
from common.partition.closed_sets import TooManyClosedSetsError
from common.partition.decide import Conditions, fps_of
from common.partition.problem import PlanningProblem
from common.plan import Cut, Prediction
from common.quantities import format_bandwidth
from edge_daemon.commands.bandwidth_chart import Curve, Panel, draw
from edge_daemon.commands.command_line import Parser, run, unprinted, write_text
from edge_daemon.commands.plan import finite, times_document
from edge_daemon.commands.problem_arguments import add_problem_arguments, load_problem

LOW_BPS, HIGH_BPS = 1e5, 1e10
_SAMPLES = 240
"""Points of a curve in the picture. The intervals do not depend on them."""
_LABEL_WIDTH = 44

Map = tuple[Interval, ...]
Measure = Callable[[Prediction], float]


def main(arguments: list[str]) -> int:
    """Run the command; return its exit status."""
    parser = Parser(
        "map",
        f"Say where to cut a model at every bandwidth from {format_bandwidth(LOW_BPS)} to "
        f"{format_bandwidth(HIGH_BPS)}.\nThe boundaries are computed, not sampled.",
    )
    add_problem_arguments(parser)
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write a picture of latency and throughput")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args(arguments)
    return run(parser.prog, lambda: _map(parser, chosen))


def _map(parser: Parser, chosen: argparse.Namespace) -> None:
    with unprinted():
        problem = load_problem(parser, chosen)
        latency = least_latency_map(problem, LOW_BPS, HIGH_BPS, chosen.rtt_ms, chosen.answer_ms)
        try:
            throughput = least_bottleneck_map(problem, LOW_BPS, HIGH_BPS)
        except TooManyClosedSetsError:
            throughput = None
    views = _Views(problem, chosen.rtt_ms, chosen.answer_ms)
    if chosen.svg is not None:
        write_text(chosen.svg, _picture(views, latency, throughput))
    if chosen.json:
        document = {
            "latency": _as_document(latency, views),
            "throughput": None if throughput is None else _as_document(throughput, views),
        }
        print(json.dumps(document, indent=1, allow_nan=False))
    else:
        print(_as_text(latency, throughput, views))


class _Views:
    """Times of any cut at any bandwidth, and of the two ends for comparison."""

    def __init__(self, problem: PlanningProblem, rtt_ms: float, answer_ms: float) -> None:
        self._problem, self._rtt_ms, self._answer_ms = problem, rtt_ms, answer_ms
        self.edge_only = Cut.edge_only(problem.graph)
        self.cloud_only = Cut.cloud_only(problem.graph)

    def times(self, cut: Cut, bandwidth_bps: float) -> Prediction:
        conditions = Conditions(bandwidth_bps=bandwidth_bps, rtt_ms=self._rtt_ms, answer_ms=self._answer_ms)
        return self._problem.assess(cut.edge_units, conditions).prediction


def _as_document(intervals: Map, views: _Views) -> list[dict[str, Any]]:
    return [
        {
            "from_bps": interval.low_bps,
            "to_bps": interval.high_bps,
            "cut": interval.cut.label,
            "edge_units": sorted(interval.cut.edge_units),
            "crossing": sorted(interval.cut.crossing),
            **{
                name: {
                    "plan": _point(views, interval.cut, bandwidth_bps),
                    "edge_only": _point(views, views.edge_only, bandwidth_bps),
                    "cloud_only": _point(views, views.cloud_only, bandwidth_bps),
                }
                for name, bandwidth_bps in (("at_from", interval.low_bps), ("at_to", interval.high_bps))
            },
        }
        for interval in intervals
    ]


def _point(views: _Views, cut: Cut, bandwidth_bps: float) -> dict[str, float | None]:
    times = views.times(cut, bandwidth_bps)
    return {**times_document(times), "sustainable_fps": finite(fps_of(times.bottleneck_ms))}


def _as_text(latency: Map, throughput: Map | None, views: _Views) -> str:
    lines = ["Least latency (light load), in ms from one end of the interval to the other:", ""]
    lines += _table(latency, views, _latency)
    lines += ["", "Most frames per second (backlog, heavy load):", ""]
    if throughput is None:
        lines.append(
            "not mapped: too many cuts to list; `cleave-edge plan --drain` answers for one bandwidth"
        )
    else:
        lines += _table(throughput, views, _rate)
    return "\n".join(lines)


def _table(intervals: Map, views: _Views, measure: Measure) -> list[str]:
    rows: list[tuple[str, ...]] = [("from", "to", "cut", "plan", "edge-only", "cloud-only")]
    for interval in intervals:
        label = interval.cut.label
        ends = [
            [measure(views.times(cut, bps)) for bps in (interval.low_bps, interval.high_bps)]
            for cut in (interval.cut, views.edge_only, views.cloud_only)
        ]
        rows.append(
            (
                format_bandwidth(interval.low_bps),
                format_bandwidth(interval.high_bps),
                label if len(label) <= _LABEL_WIDTH else label[: _LABEL_WIDTH - 1] + "…",
                *(_number(low) if low == high else f"{_number(low)} → {_number(high)}" for low, high in ends),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _number(value: float) -> str:
    if math.isinf(value):
        return "any"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _picture(views: _Views, latency: Map, throughput: Map | None) -> str:
    """Draw latency and throughput. Without a throughput map its panel shows the least-latency plan's."""
    bandwidths = [LOW_BPS * (HIGH_BPS / LOW_BPS) ** (i / _SAMPLES) for i in range(_SAMPLES + 1)]
    drained = latency if throughput is None else throughput
    what = "most frames per second" if throughput else "frames per second of the plan of least latency"
    return draw(
        "Where to cut, by bandwidth (a line at each change of the cut)",
        [
            Panel("least latency, ms", _curves(views, latency, bandwidths, _latency), _changes(latency)),
            Panel(what, _curves(views, drained, bandwidths, _rate), _changes(drained)),
        ],
    )


def _latency(times: Prediction) -> float:
    return times.latency_ms


def _rate(times: Prediction) -> float:
    return fps_of(times.bottleneck_ms)


def _changes(intervals: Map) -> list[float]:
    return [interval.low_bps for interval in intervals[1:]]


def _curves(views: _Views, plan: Map, bandwidths: Sequence[float], measure: Measure) -> list[Curve]:
    ours: list[tuple[float, float]] = []
    for interval in plan:
        inside = [bps for bps in bandwidths if interval.low_bps < bps < interval.high_bps]
        for bps in (interval.low_bps, *inside, interval.high_bps):
            ours.append((bps, measure(views.times(interval.cut, bps))))
    ends = [
        Curve(name, [(bps, measure(views.times(cut, bps))) for bps in bandwidths])
        for name, cut in (("edge only", views.edge_only), ("cloud only", views.cloud_only))
    ]
    return [*ends, Curve("plan", ours)]
