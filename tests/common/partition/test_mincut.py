import itertools
import random

import pytest

from common.graph import ModelGraph
from common.partition.decide import Conditions
from common.partition.mincut import least_latency
from common.partition.solve import LOWEST_RATE_FPS, Solver, solve
from tests.graphs import ONE_BYTE_PER_MS, Problem, chain_problem, wide_problem

LIGHT = Conditions(bandwidth_bps=ONE_BYTE_PER_MS, rate_fps=LOWEST_RATE_FPS)


def nearly_tied(rng: random.Random) -> Problem:
    """A chain of thirty hours whose cuts differ by milliseconds: far less than one quantum of the first round."""
    names = [f"u{i}" for i in range(30)]
    graph = ModelGraph.from_links(dict.fromkeys(names, 0), list(itertools.pairwise(names)))
    edge = {name: rng.uniform(3.6e6, 3.7e6) for name in names}
    return Problem(graph, edge, {name: ms + rng.uniform(-5e-3, 5e-3) for name, ms in edge.items()})


def test_large_times_are_solved_to_the_microsecond() -> None:
    """int32 holds no day in microseconds, yet the value and the bound are exact: rounds refine each other."""
    for seed in range(20):
        problem = nearly_tied(random.Random(seed))
        found = least_latency(problem, LIGHT)
        exact = solve(problem, LIGHT, Solver.FRONTIER)
        assert found.value_ms == pytest.approx(exact.value_ms, abs=1e-3, rel=0)
        assert found.value_ms - found.lower_bound_ms < 1e-3


def test_large_and_small_graphs_overflow_nothing() -> None:
    """From nanoseconds to years, the value is the frontier's."""
    for factor in (1e-9, 1.0, 1e6, 1e9):
        problem = chain_problem(random.Random(3), 40)
        scaled = Problem(
            problem.graph,
            {name: ms * factor for name, ms in problem.edge_ms.items()},
            {name: ms * factor for name, ms in problem.cloud_ms.items()},
        )
        link = Conditions(bandwidth_bps=8e6 / factor, rate_fps=LOWEST_RATE_FPS)
        exact = solve(scaled, link, Solver.FRONTIER).value_ms
        assert least_latency(scaled, link).value_ms == pytest.approx(exact, rel=1e-9, abs=1e-6)


def test_the_bound_is_proved_on_a_graph_too_wide_to_enumerate() -> None:
    """The flow meets the cut on 300 units of which no list of cuts can be made."""
    problem = wide_problem(random.Random(5), 300)
    for bandwidth_bps in (1e6, 2e7, 1e9):
        found = least_latency(problem, Conditions(bandwidth_bps=bandwidth_bps, rate_fps=LOWEST_RATE_FPS))
        assert 0 <= found.value_ms - found.lower_bound_ms <= 1e-5


@pytest.mark.parametrize("better", ["a", "b"])
def test_of_the_outermost_tied_cuts_the_lesser_bottleneck_is_taken(better: str) -> None:
    """Two cuts of latency 20, after `a` and after `b`: whichever has bottleneck 10, not 14, is returned."""
    graph = ModelGraph.from_links({"s": 100, "a": 10, "b": 4, "t": 1}, [("s", "a"), ("a", "b"), ("b", "t")])
    if better == "a":  # (8, 10, 2), (14, 4, 2)
        problem = Problem(graph, {"s": 0, "a": 8, "b": 6, "t": 90}, {"s": 0, "a": 9, "b": 0, "t": 2})
    else:  # (0, 6, 14), (6, 4, 10)
        graph = graph.with_output_bytes({"a": 6})
        problem = Problem(graph, {"s": 0, "a": 0, "b": 6, "t": 90}, {"s": 0, "a": 9, "b": 4, "t": 10})
    found = least_latency(problem, LIGHT)
    assert found.value_ms == pytest.approx(20)
    assert found.best.prediction.bottleneck_ms == pytest.approx(10)
    assert found.best.cut.crossing == (better,)
