"""Facts about what a busy cloud does to a decision."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from common.partition.cloud_wait import leaves_for_load, tell_wait
from common.partition.decide import Conditions, Costs, decide
from common.plan import Cause, Cut, Mode
from tests.graphs import Problem, chain_problem

FREE = Conditions(bandwidth_bps=1e9, rtt_ms=1.0, rate_fps=0.1)


@pytest.fixture
def problem() -> Problem:
    """A chain that is worth sending up whole: 5 to 20 × faster in the cloud."""
    return chain_problem(random.Random(1), 12)


def test_the_wait_is_part_of_the_clouds_stage(problem: Problem) -> None:
    """It counts once in latency and bottleneck of every cut that uses the cloud, and not for the edge alone."""
    graph = problem.graph
    busy = replace(FREE, cloud_wait_ms=40.0)
    for edge_units in ([graph.source], graph.names[:5]):
        without, waited = (problem.assess(edge_units, c).prediction for c in (FREE, busy))
        assert waited.latency_ms == pytest.approx(without.latency_ms + 40.0)
        assert waited.cloud_ms == pytest.approx(without.cloud_ms + 40.0)
        assert waited.bottleneck_ms >= 40.0
    assert problem.assess(graph.names, busy) == problem.assess(graph.names, FREE)


@pytest.mark.parametrize("rate_fps", [0.1, 30.0, None])
def test_a_busy_cloud_moves_the_cut_to_the_edge_and_back(problem: Problem, rate_fps: float | None) -> None:
    """Whatever is optimised: as the wait grows the edge alone wins, which is said; when it is gone, it is left."""
    free = replace(FREE, rate_fps=rate_fps)
    first = decide(problem.frontier, free)
    assert first.cut.cloud_units
    assert not leaves_for_load(problem.frontier, free, first)
    busy = replace(free, cloud_wait_ms=500.0)
    current = (first.cut, problem_costs(problem, first.cut))
    left = decide(problem.frontier, busy, current)
    assert left.switched
    assert not left.cut.cloud_units
    assert leaves_for_load(problem.frontier, busy, left)
    told = tell_wait(problem.frontier, busy, left, first.cut)
    assert "(the cloud is busy: 500 ms wait)" in told.reason
    assert told.cause is Cause.CLOUD_BUSY
    assert tell_wait(problem.frontier, busy, left, left.cut).cause is left.cause, (
        "it takes nothing out of the cloud"
    )
    back = decide(problem.frontier, free, (left.cut, problem_costs(problem, left.cut)))
    assert back.switched
    assert back.cut == first.cut


def test_a_wait_that_changes_nothing_is_told_only_if_it_is_long(problem: Problem) -> None:
    """A millisecond among forty is not worth a word; nor is any wait where the cloud was no choice anyway."""
    first = decide(problem.frontier, FREE)
    for wait_ms, told in (
        (0.0, False),
        (0.02 * first.prediction.latency_ms, False),
        (first.prediction.latency_ms, True),
    ):
        conditions = replace(FREE, cloud_wait_ms=wait_ms)
        decision = decide(problem.frontier, conditions)
        if decision.cut == first.cut:
            assert ("busy" in tell_wait(problem.frontier, conditions, decision).reason) is told
    slow = replace(FREE, bandwidth_bps=1.0, cloud_wait_ms=500.0)
    alone = decide(problem.frontier, slow)
    assert alone.mode in (Mode.LIGHT, Mode.HEAVY)
    assert not leaves_for_load(problem.frontier, slow, alone)
    assert tell_wait(problem.frontier, slow, alone) is alone


@pytest.mark.parametrize("wait_ms", [-1.0, float("nan"), float("inf")])
def test_an_impossible_wait_is_refused(wait_ms: float) -> None:
    """A number that came over the network is not planned with unless it can be true."""
    with pytest.raises(ValueError, match="cloud_wait_ms"):
        Conditions(bandwidth_bps=1e6, cloud_wait_ms=wait_ms)


def problem_costs(problem: Problem, cut: Cut) -> Costs:
    return Costs.of(problem.graph, cut, problem.edge_ms, problem.cloud_ms)
