import itertools
import math
import random
from typing import Any

import pytest

from common.graph import ModelGraph
from common.partition import solve as solve_module
from common.partition.decide import Conditions
from common.partition.milp import Found, minimise
from common.partition.solve import LOWEST_RATE_FPS, Solver, SolverError, solve
from common.plan import Mode
from tests.common.partition.agreement import TooLarge, check
from tests.graphs import (
    ONE_BYTE_PER_MS,
    Problem,
    chain_problem,
    closure_problem,
    densenet_problem,
    inception_problem,
    off_hull_problem,
    wide_problem,
)

EXACT = (Solver.AUTO, Solver.FRONTIER, Solver.MILP)
LIGHT = Conditions(bandwidth_bps=ONE_BYTE_PER_MS, rate_fps=LOWEST_RATE_FPS)
DRAIN = Conditions(bandwidth_bps=ONE_BYTE_PER_MS)


def test_all_solvers_agree_with_trying_every_set() -> None:
    """On 300 random problems every solver has the definition's mode, value and tie-break, to 1 µs."""
    answers = check(300, seed=1)
    for solver in (*EXACT, "auto, too large"):
        assert all(answers[f"{solver}: {mode}"] >= 10 for mode in ("light", "heavy", "overloaded", "drain"))
    assert answers["mincut: light"] >= 100


@pytest.mark.parametrize("solver", Solver)
def test_closure(solver: Solver) -> None:
    """The paper's graph gives 18 with a set that is not closed; the best legal cut takes 103."""
    solution = solve(closure_problem(), LIGHT, solver)
    assert solution.value_ms == pytest.approx(103)
    assert solution.lower_bound_ms == pytest.approx(103)
    assert solution.optimal


@pytest.mark.parametrize("solver", EXACT)
def test_off_the_hull(solver: Solver) -> None:
    """The least bottleneck is 6, which no weighted sum of the three times finds."""
    solution = solve(off_hull_problem(), DRAIN, solver)
    assert solution.mode is Mode.DRAIN
    assert solution.value_ms == pytest.approx(6)
    assert solution.sustainable_fps == pytest.approx(1000 / 6)


@pytest.mark.parametrize("solver", Solver)
def test_a_free_upload_is_paid_for(solver: Solver) -> None:
    """A source that costs the cloud nothing is still on the edge: all-cloud sends the frame."""
    graph = ModelGraph.from_links({"s": 100, "t": 1}, [("s", "t")])
    problem = Problem(graph, {"s": 0.0, "t": 1000.0}, {"s": 0.0, "t": 1.0})
    assert solve(problem, LIGHT, solver).value_ms == pytest.approx(101)


@pytest.mark.parametrize("solver", Solver)
def test_a_fan_out_is_sent_once(solver: Solver) -> None:
    """One unit read by three in the cloud costs its bytes once."""
    graph = ModelGraph.from_links(
        {"s": 1000, "a": 10, "b": 1, "c": 1, "d": 1, "t": 1},
        [("s", "a"), ("a", "b"), ("a", "c"), ("a", "d"), ("b", "t"), ("c", "t"), ("d", "t")],
    )
    edge = dict.fromkeys(graph.names, 100.0) | {"s": 0.0, "a": 1.0}
    solution = solve(Problem(graph, edge, dict.fromkeys(graph.names, 1.0)), LIGHT, solver)
    assert solution.cut.crossing == ("a",)
    assert solution.prediction.link_ms == pytest.approx(10)


@pytest.mark.parametrize("solver", Solver)
def test_a_link_past_other_readers_is_sent(solver: Solver) -> None:
    """A tensor that a later unit in the cloud reads too crosses beside that unit's other input."""
    graph = ModelGraph.from_links(
        {"s": 7, "a": 1, "b": 1, "t": 1}, [("s", "a"), ("a", "b"), ("b", "t"), ("s", "t")]
    )
    edge = {"s": 0.0, "a": 1.0, "b": 1.0, "t": 1000.0}
    cloud = {"s": 0.0, "a": 50.0, "b": 50.0, "t": 1.0}
    solution = solve(Problem(graph, edge, cloud), LIGHT, solver)
    assert solution.cut.crossing == ("s", "b")
    assert solution.prediction.link_ms == pytest.approx(8)


@pytest.mark.parametrize("solver", Solver)
@pytest.mark.parametrize("bandwidth_bps", [0.0, 8000.0])
def test_a_single_unit_has_one_cut(solver: Solver, bandwidth_bps: float) -> None:
    """Where the frame is the answer, it stays on the edge, at no round trip."""
    problem = Problem(ModelGraph.from_links({"only": 5}, []), {"only": 3.0}, {"only": 1.0})
    conditions = Conditions(bandwidth_bps=bandwidth_bps, rtt_ms=10.0, rate_fps=1.0)
    solution = solve(problem, conditions, solver)
    assert solution.cut.label == "edge-only"
    assert solution.prediction.latency_ms == 3.0
    assert solution.optimal


@pytest.mark.parametrize("solver", Solver)
def test_no_link_leaves_the_edge_only(solver: Solver) -> None:
    """At bandwidth zero even an output of no bytes cannot be sent."""
    graph = ModelGraph.from_links({"s": 0, "t": 0}, [("s", "t")])
    problem = Problem(graph, {"s": 0.0, "t": 1000.0}, {"s": 0.0, "t": 1.0})
    solution = solve(problem, Conditions(bandwidth_bps=0.0, rate_fps=1e-3), solver)
    assert solution.cut.label == "edge-only"
    assert solution.mode is Mode.LIGHT


@pytest.mark.parametrize("solver", Solver)
def test_nothing_costs_anything(solver: Solver) -> None:
    """Zero times and zero bytes give zero latency, proved, on whichever side."""
    graph = ModelGraph.from_links({"s": 0, "a": 0, "t": 0}, [("s", "a"), ("a", "t")])
    zero = dict.fromkeys(graph.names, 0.0)
    solution = solve(Problem(graph, zero, zero), LIGHT, solver)
    assert (solution.prediction.latency_ms, solution.lower_bound_ms, solution.optimal) == (0.0, 0.0, True)


@pytest.mark.parametrize("solver", [Solver.FRONTIER, Solver.MILP])
def test_nothing_costs_anything_to_drain(solver: Solver) -> None:
    """A bottleneck of zero is proved, and sustains any rate."""
    graph = ModelGraph.from_links({"s": 0, "a": 0, "t": 0}, [("s", "a"), ("a", "t")])
    zero = dict.fromkeys(graph.names, 0.0)
    solution = solve(Problem(graph, zero, zero), DRAIN, solver)
    assert solution.optimal
    assert math.isinf(solution.sustainable_fps)


@pytest.mark.parametrize("solver", EXACT)
def test_ties_go_to_the_other_measure(solver: Solver) -> None:
    """Two cuts of bottleneck 10 differ in latency, and two of latency 20 in bottleneck: the lesser is taken."""
    chain = ModelGraph.from_links({"s": 100, "a": 10, "b": 4, "t": 1}, [("s", "a"), ("a", "b"), ("b", "t")])
    problem = Problem(chain, {"s": 0, "a": 5, "b": 5, "t": 90}, {"s": 0, "a": 9, "b": 2, "t": 5})
    assert solve(problem, DRAIN, solver).prediction.latency_ms == pytest.approx(19)
    problem = Problem(chain, {"s": 0, "a": 8, "b": 6, "t": 90}, {"s": 0, "a": 9, "b": 0, "t": 2})
    light = solve(problem, LIGHT, solver)
    assert light.prediction.latency_ms == pytest.approx(20)
    assert light.prediction.bottleneck_ms == pytest.approx(10)


def test_a_tie_that_the_minimum_cut_does_not_see() -> None:
    """Of three cuts of latency 30 only the middle one keeps the rate: light it is, by the integer program."""
    sizes = {"s": 100, "a": 10, "b": 10, "c": 10, "t": 1}
    graph = ModelGraph.from_links(sizes, list(itertools.pairwise(sizes)))
    edge = {"s": 0.0, "a": 5.0, "b": 5.0, "c": 5.0, "t": 90.0}  # (5, 10, 15), (10, 10, 10), (15, 10, 5)
    cloud = {"s": 0.0, "a": 5.0, "b": 5.0, "c": 5.0, "t": 5.0}
    solution = solve(TooLarge(graph, edge, cloud), Conditions(bandwidth_bps=ONE_BYTE_PER_MS, rate_fps=90.0))
    assert solution.mode is Mode.LIGHT
    assert solution.solver is Solver.MILP
    assert solution.cut.crossing == ("b",)
    assert solution.optimal


@pytest.mark.parametrize("solver", EXACT)
def test_ties_under_heavy_load_go_to_the_lesser_bottleneck(solver: Solver) -> None:
    """The fastest cut, edge-only at 31, is too slow for the rate; of two at 35 that keep it one is smoother."""
    sizes = {"s": 100, "a": 10, "b": 10, "t": 1}
    graph = ModelGraph.from_links(sizes, list(itertools.pairwise(sizes)))
    edge = {"s": 0.0, "a": 5.0, "b": 5.0, "t": 21.0}
    cloud = {"s": 0.0, "a": 5.0, "b": 5.0, "t": 15.0}  # (5, 10, 20), (10, 10, 15), (31, 0, 0)
    solution = solve(Problem(graph, edge, cloud), Conditions(bandwidth_bps=8000.0, rate_fps=40.0), solver)
    assert solution.mode is Mode.HEAVY
    assert solution.prediction.latency_ms == pytest.approx(35)
    assert solution.prediction.bottleneck_ms == pytest.approx(15)


@pytest.mark.parametrize("conditions", [DRAIN, Conditions(bandwidth_bps=8000.0, rate_fps=1e6)])
def test_the_minimum_cut_says_what_it_cannot_answer(conditions: Conditions) -> None:
    """Asked for a bottleneck or a rate, the latency's solver refuses and names those that can."""
    with pytest.raises(SolverError, match="use auto or milp"):
        solve(closure_problem(), conditions, Solver.MINCUT)


def test_the_frontier_says_when_there_are_too_many_sets() -> None:
    """A graph of 20 parallel branches has a million closed sets; asked for by name, the frontier refuses."""
    problem = wide_problem(random.Random(0), 200)
    with pytest.raises(SolverError, match="use mincut or milp"):
        solve(problem, LIGHT, Solver.FRONTIER)


def test_auto_goes_by_size_and_load() -> None:
    """Few sets: the frontier. Too many: the minimum cut for latency, the integer program for the rest."""
    few, many = closure_problem(), wide_problem(random.Random(0), 150)
    assert solve(few, DRAIN).solver is Solver.FRONTIER
    assert solve(many, LIGHT).solver is Solver.MINCUT
    assert solve(many, DRAIN).solver is Solver.MILP


@pytest.mark.parametrize(
    "problem",
    [
        chain_problem(random.Random(1), 60),
        inception_problem(random.Random(2), 5),
        densenet_problem(random.Random(3), (6, 8)),
    ],
    ids=["chain", "inception", "dense"],
)
def test_shapes_of_real_networks(problem: Problem) -> None:
    """On chains, inception and dense blocks the minimum cut and the program have the frontier's values."""
    for bandwidth_bps in (1e6, 8e6, 4e7):
        link = {"bandwidth_bps": bandwidth_bps, "rtt_ms": 5.0}
        light = Conditions(**link, rate_fps=LOWEST_RATE_FPS)
        exact = solve(problem, light, Solver.FRONTIER)
        for solver in (Solver.MINCUT, Solver.MILP):
            assert solve(problem, light, solver).value_ms == pytest.approx(exact.value_ms, abs=1e-3)
        drain = solve(problem, Conditions(**link), Solver.FRONTIER)
        assert solve(problem, Conditions(**link), Solver.MILP).value_ms == pytest.approx(
            drain.value_ms, abs=1e-3
        )
        middle_ms = 0.7 * drain.prediction.bottleneck_ms + 0.3 * exact.prediction.bottleneck_ms
        kept = Conditions(**link, rate_fps=1000 / middle_ms)
        expected = solve(problem, kept, Solver.FRONTIER)
        found = solve(problem, kept, Solver.MILP)
        assert found.mode is expected.mode
        assert found.value_ms == pytest.approx(expected.value_ms, abs=1e-3)


def test_out_of_time_the_gap_is_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a proof in time the answer is a legal cut, not called optimal, with what is missing as its gap."""
    problem = off_hull_problem()

    def give_up(*args: object) -> Found:
        return Found(None, 4.0)

    monkeypatch.setattr(solve_module, "minimise", give_up)
    drained = solve(TooLarge(problem.graph, problem.edge_ms, problem.cloud_ms), DRAIN)
    assert not drained.optimal
    assert drained.value_ms == 10.0
    assert drained.lower_bound_ms == 4.0
    assert drained.gap == pytest.approx(0.6)


def test_the_time_limit_holds_for_all_programs_together() -> None:
    """Each program is given what the ones before it have left."""
    ticks = iter([0.0, 4.0, 7.0, *[9.0] * 10])
    given: list[float] = []

    def record(problem: Any, conditions: Any, objective: Any, limits: Any, left_s: Any) -> Found:
        given.append(left_s())
        return minimise(problem, conditions, objective, limits, lambda: 10.0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(solve_module, "minimise", record)
        solve(off_hull_problem(), DRAIN, Solver.MILP, time_limit_s=10.0, clock=lambda: next(ticks))
    assert given == [6.0, 3.0]
