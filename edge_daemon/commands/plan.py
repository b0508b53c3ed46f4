"""`cleave-edge plan`: where to cut a model at one bandwidth, how long it takes, and the proof."""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

from common.partition.decide import Conditions
from common.partition.integer_program import Objective
from common.partition.problem import PlanningProblem
from common.partition.solve import LOWEST_RATE_FPS, TIME_LIMIT_S, Solution, Solver, objective_of, solve
from common.plan import Mode, Prediction
from common.quantities import format_bandwidth
from edge_daemon.commands.command_line import (
    Parser,
    bandwidth,
    duration_s,
    rate_fps,
    run,
    unprinted,
    write_text,
)
from edge_daemon.commands.cut_diagram import draw_cut
from edge_daemon.commands.problem_arguments import add_problem_arguments, load_problem

_EPILOG = """\
Without --fps and --drain the load is light: least latency alone. With --fps, the least latency among the cuts
that keep the rate, or the least bottleneck if none does. With --drain, the least bottleneck.
"""


def main(arguments: list[str]) -> int:
    """Run the command; return its exit status."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    return run(parser.prog, lambda: _plan(parser, chosen))


def _parser() -> Parser:
    parser = Parser("plan", "Say where to cut a model at one bandwidth.", _EPILOG)
    add_problem_arguments(parser)
    parser.add_argument(
        "--bandwidth", type=bandwidth, required=True, metavar="RATE", help="upwards, such as 8mbit or 2.5MB/s"
    )
    load = parser.add_mutually_exclusive_group()
    load.add_argument("--fps", type=rate_fps, metavar="RATE", help="frames per second to keep up with")
    load.add_argument("--drain", action="store_true", help="a backlog, as many frames per second as possible")
    parser.add_argument("--solver", choices=[str(solver) for solver in Solver], default=str(Solver.AUTO))
    parser.add_argument(
        "--time-limit-s",
        type=duration_s,
        default=TIME_LIMIT_S,
        metavar="S",
        help="for the integer programs, then the gap is stated (default %(default)g)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw the units with the cut in them")
    return parser


def _plan(parser: Parser, chosen: argparse.Namespace) -> None:
    with unprinted():
        problem = load_problem(parser, chosen)
    conditions = Conditions(
        bandwidth_bps=chosen.bandwidth,
        rtt_ms=chosen.rtt_ms,
        answer_ms=chosen.answer_ms,
        rate_fps=None if chosen.drain else chosen.fps or LOWEST_RATE_FPS,
    )
    started = time.perf_counter()
    with unprinted():
        solution = solve(problem, conditions, Solver(chosen.solver), time_limit_s=chosen.time_limit_s)
    solve_ms = (time.perf_counter() - started) * 1000
    if chosen.svg is not None:
        at = format_bandwidth(chosen.bandwidth)
        title = f"{chosen.model or chosen.problem.stem} at {at}: {solution.cut.label}"
        write_text(chosen.svg, draw_cut(problem.graph, solution.cut, title))
    if chosen.json:
        print(json.dumps(as_document(solution, solve_ms), indent=1, allow_nan=False))
    else:
        print(_as_text(problem, conditions, solution, solve_ms))


def as_document(solution: Solution, solve_ms: float) -> dict[str, Any]:
    """Return a plan for JSON; what is infinite (the rate of a pipeline that takes no time) is null."""
    return {
        "mode": str(solution.mode),
        "edge_units": sorted(solution.cut.edge_units),
        "crossing": sorted(solution.cut.crossing),
        **times_document(solution.prediction),
        "lower_bound_ms": finite(solution.lower_bound_ms),
        "optimal": solution.optimal,
        "sustainable_fps": finite(solution.sustainable_fps),
        "solver": str(solution.solver),
        "solve_ms": solve_ms,
    }


def times_document(times: Prediction) -> dict[str, float | None]:
    return {
        "edge_ms": finite(times.edge_ms),
        "link_ms": finite(times.link_ms),
        "cloud_ms": finite(times.cloud_ms),
        "latency_ms": finite(times.latency_ms),
        "bottleneck_ms": finite(times.bottleneck_ms),
    }


def finite(value: float) -> float | None:
    """JSON has no infinity."""
    return value if math.isfinite(value) else None


_MEANING = {
    Mode.LIGHT: "the least latency of all cuts",
    Mode.HEAVY: "the least latency of the cuts that keep the rate",
    Mode.OVERLOADED: "no cut keeps the rate: the most frames per second",
    Mode.DRAIN: "the most frames per second",
}


def _as_text(problem: PlanningProblem, conditions: Conditions, solution: Solution, solve_ms: float) -> str:
    cut, times = solution.cut, solution.prediction
    crossing = [f"{name} ({problem.graph[name].output_bytes:,} bytes)" for name in cut.crossing]
    lines = [
        ("mode", f"{solution.mode}: {_MEANING[solution.mode]}"),
        ("link", f"{format_bandwidth(conditions.bandwidth_bps)}, round trip {conditions.rtt_ms:g} ms"),
        ("cut", f"{cut.label}: {len(cut.edge_units)} units on the edge, {len(cut.cloud_units)} in the cloud"),
        ("crossing", ", ".join(crossing) or "nothing"),
        ("stages", f"edge {_ms(times.edge_ms)}, link {_ms(times.link_ms)}, cloud {_ms(times.cloud_ms)}"),
        ("latency", _ms(times.latency_ms)),
        ("bottleneck", f"{_ms(times.bottleneck_ms)}, so {_rate(solution.sustainable_fps)}"),
        ("proof", _proof(solution)),
        ("solver", f"{solution.solver}, {_ms(solve_ms)}"),
    ]
    for name, units in (("edge-only", problem.graph.names), ("cloud-only", (problem.graph.source,))):
        end = problem.assess(units, conditions).prediction
        rate = _rate(1000 / end.bottleneck_ms if end.bottleneck_ms else math.inf)
        lines.append((name, f"{_ms(end.latency_ms)}, {rate}"))
    return "\n".join(f"{label:11} {value}" for label, value in lines)


def _proof(solution: Solution) -> str:
    objective = objective_of(solution.mode)
    measure = "latency" if objective is Objective.LATENCY else "bottleneck"
    bound = _ms(solution.lower_bound_ms)
    if solution.optimal:
        keeping = " that keeps the rate" if solution.mode is Mode.HEAVY else ""
        return f"optimal: no legal cut{keeping} has a {measure} below {bound}"
    return f"not proved in time: the least {measure} is at least {bound}, a gap of {solution.gap:.2%}"


def _ms(value: float) -> str:
    return f"{value:,.3f} ms" if math.isfinite(value) else "never"


def _rate(fps: float) -> str:
    return f"at most {fps:,.4g} frames/s" if math.isfinite(fps) else "any number of frames/s"
