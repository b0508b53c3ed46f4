"""How long the planner takes: frontiers of the classifiers, decisions, and graphs too wide for a frontier.

    python -m benchmarks.planner

Unit times are made up in proportion to each unit's output, the edge eight times slower: what the solvers take
depends on the graph, hardly on the times.
"""

from __future__ import annotations

import random
import statistics
import time

from common.graph import ModelGraph
from common.partition.closed_sets import TooManyClosedSetsError, enumerate_closed_sets
from common.partition.decide import Conditions, choose
from common.partition.frontier import Frontier
from common.partition.problem import PlanningProblem
from common.partition.solve import LOWEST_RATE_FPS, Solver, solve
from models.zoo import load_model

PARETOPIPE = ("mobilenet_v2", "resnet18", "resnet50", "inception_v3", "vgg16", "alexnet")
"""The models of the paper's experiment, and two more with branches."""
BRANCHED = ("googlenet", "densenet121")
UNJOINED = ("densenet121", "inception_v3")
LINK = 20e6


def made_up(graph: ModelGraph, slowdown: float = 8.0) -> PlanningProblem:
    """Make unit times in proportion to output sizes, with some noise."""
    rng = random.Random(0)
    cloud = {u.name: (0.05 + u.output_bytes / 4e6) * rng.uniform(0.5, 1.5) for u in graph.units}
    cloud[graph.source] = 0.0
    return PlanningProblem(graph, {name: slowdown * ms for name, ms in cloud.items()}, cloud)


def frontiers() -> None:
    print(f"{'model':16} {'units':>6} {'cuts':>6} {'frontier':>9} {'build ms':>9} {'decision ms':>12}")
    for name in (*PARETOPIPE, *BRANCHED):
        graph = load_model(name, "random:0").graph
        problem = made_up(graph)
        started = time.perf_counter()
        sets = enumerate_closed_sets(graph)
        frontier = Frontier.build(sets, problem.edge_ms, problem.cloud_ms)
        build_ms = (time.perf_counter() - started) * 1e3
        taken = []
        for rate in (None, 1.0, 10.0, 30.0, 100.0) * 10:
            began = time.perf_counter()
            choose(frontier, Conditions(bandwidth_bps=LINK, rtt_ms=10.0, rate_fps=rate))
            taken.append((time.perf_counter() - began) * 1e3)
        decision_ms = statistics.median(taken)
        print(
            f"{name:16} {len(graph):6} {len(sets):6} {len(frontier):9} {build_ms:9.1f} {decision_ms:12.3f}",
            flush=True,
        )


def unjoined() -> None:
    print(f"\n{'every operator a unit':24} {'units':>6} {'load':>6} {'solver':>9} {'seconds':>8}  proof")
    for name in UNJOINED:
        graph = load_model(name, "random:0", join=False).graph
        problem = made_up(graph)
        try:
            print(f"{name:24} {len(graph):6} has {len(enumerate_closed_sets(graph))} closed sets")
        except TooManyClosedSetsError as error:
            print(f"{name:24} {len(graph):6} {error}")
        for load, rate in (("light", LOWEST_RATE_FPS), ("20 fps", 20.0), ("drain", None)):
            solvers = (Solver.AUTO, Solver.MILP)
            for solver in solvers:
                conditions = Conditions(bandwidth_bps=LINK, rtt_ms=10.0, rate_fps=rate)
                started = time.perf_counter()
                solution = solve(problem, conditions, solver)
                seconds = time.perf_counter() - started
                proof = "optimal" if solution.optimal else f"gap {solution.gap:.2%}"
                used = f"{solver}→{solution.solver}" if solver is Solver.AUTO else str(solver)
                print(f"{name:24} {len(graph):6} {load:>6} {used:>14} {seconds:8.3f}  {proof}", flush=True)


def main() -> None:
    frontiers()
    unjoined()


if __name__ == "__main__":
    main()
