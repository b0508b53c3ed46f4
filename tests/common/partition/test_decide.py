import random

import pytest

from common.graph import ModelGraph
from common.partition.decide import Conditions, Costs, Decision, choose, decide
from common.plan import Cut, Mode
from tests.graphs import (
    ONE_BYTE_PER_MS,
    Problem,
    brute_force,
    closure_problem,
    off_hull_problem,
    random_problem,
)


def light(bandwidth_bps: float = ONE_BYTE_PER_MS, rtt_ms: float = 0.0) -> Conditions:
    """A sampling rate so low that every cut keeps it."""
    return Conditions(bandwidth_bps=bandwidth_bps, rtt_ms=rtt_ms, rate_fps=1e-9)


# --- planning.md §5 -------------------------------------------------------------------------------------
def test_case_1_closure() -> None:
    """The paper's graph gives 18 with a set that is not closed; the best legal cut takes 103."""
    decision = decide(closure_problem().frontier, light())
    assert decision.prediction.latency_ms == pytest.approx(103)
    assert decision.cut.label == "edge-only"


def test_case_2_off_the_hull() -> None:
    """The least bottleneck is 6, which no weighted sum of the three times finds."""
    choice = choose(off_hull_problem().frontier, Conditions(bandwidth_bps=ONE_BYTE_PER_MS))
    assert choice.mode is Mode.DRAIN
    assert choice.prediction.bottleneck_ms == pytest.approx(6)


def test_case_3_free_upload() -> None:
    """A source that costs the cloud nothing is still to be sent: all-cloud pays for the frame."""
    graph = ModelGraph.from_links({"s": 100, "t": 1}, [("s", "t")])
    problem = Problem(graph, {"s": 0.0, "t": 1000.0}, {"s": 0.0, "t": 1.0})
    decision = decide(problem.frontier, light())
    assert decision.cut.label == "cloud-only"
    assert decision.prediction.latency_ms == pytest.approx(101)


def test_case_4_fan_out() -> None:
    """One unit read by three in the cloud is sent once."""
    graph = ModelGraph.from_links(
        {"s": 1000, "a": 10, "b": 1, "c": 1, "d": 1, "t": 1},
        [("s", "a"), ("a", "b"), ("a", "c"), ("a", "d"), ("b", "t"), ("c", "t"), ("d", "t")],
    )
    edge = dict.fromkeys(graph.names, 100.0) | {"s": 0.0, "a": 1.0}
    problem = Problem(graph, edge, dict.fromkeys(graph.names, 1.0))
    decision = decide(problem.frontier, light())
    assert decision.cut.crossing == ("a",)
    assert decision.prediction.link_ms == pytest.approx(10)


def test_case_5_random_dags_against_brute_force() -> None:
    """On 600 random DAGs the choice has the value that trying every legal set gives, in all four modes."""
    rng = random.Random(5)
    modes = set()
    for _ in range(600):
        problem = random_problem(rng)
        conditions = Conditions(
            bandwidth_bps=rng.choice([0.0, 1e3, 8e3, 1e6]),
            rtt_ms=rng.choice([0.0, 5.0]),
            rate_fps=rng.choice([None, 5.0, 20.0, 100.0, 1000.0]),
            edge_scale=rng.choice([1.0, 3.0]),
            cloud_scale=rng.choice([1.0, 0.1]),
        )
        choice = choose(problem.frontier, conditions)
        modes.add(choice.mode)
        sets = list(brute_force(problem, conditions))
        period = conditions.period_ms
        least_latency = min(latency for _, latency, _ in sets)
        keeping = [latency for _, latency, bottleneck in sets if bottleneck <= period]
        expected_mode, expected = _expected(conditions, sets, keeping, least_latency)
        assert choice.lower_bound_ms == pytest.approx(expected, abs=1e-6)
        assert choice.mode is expected_mode
        cut = problem.frontier.cut(choice.entry)
        again = Costs.of(problem.graph, cut, problem.edge_ms, problem.cloud_ms).predict(cut, conditions)
        assert again.latency_ms == pytest.approx(choice.prediction.latency_ms, abs=1e-6)
        assert again.bottleneck_ms == pytest.approx(choice.prediction.bottleneck_ms, abs=1e-6)
    assert modes == {Mode.LIGHT, Mode.HEAVY, Mode.OVERLOADED, Mode.DRAIN}


def _expected(
    conditions: Conditions,
    sets: list[tuple[frozenset[str], float, float]],
    keeping: list[float],
    least_latency: float,
) -> tuple[Mode, float]:
    if conditions.rate_fps is None:
        return Mode.DRAIN, min(bottleneck for _, _, bottleneck in sets)
    if not keeping:
        return Mode.OVERLOADED, min(bottleneck for _, _, bottleneck in sets)
    if any(latency == least_latency and b <= conditions.period_ms for _, latency, b in sets):
        return Mode.LIGHT, least_latency
    return Mode.HEAVY, min(keeping)


# --- hysteresis -----------------------------------------------------------------------------------------
def chain(edge_ms: float) -> Problem:
    """A frame of 100 bytes and one unit: all on the edge in `edge_ms`, or in the cloud in 1 ms."""
    graph = ModelGraph.from_links({"s": 100, "t": 1}, [("s", "t")])
    return Problem(graph, {"s": 0.0, "t": edge_ms}, {"s": 0.0, "t": 1.0})


def decide_from(problem: Problem, cut: Cut, conditions: Conditions) -> Decision:
    costs = Costs.of(problem.graph, cut, problem.edge_ms, problem.cloud_ms)
    return decide(problem.frontier, conditions, (cut, costs))


def test_a_small_gain_is_no_reason_to_switch() -> None:
    """Cloud-only at 101 ms against 104 ms gains 3%: the edge keeps the frame, and the decision says so."""
    problem = chain(edge_ms=104.0)
    decision = decide_from(problem, Cut.edge_only(problem.graph), light())
    assert not decision.switched
    assert decision.cut.label == "edge-only"
    assert decision.prediction.latency_ms == pytest.approx(104)
    assert "gain only 2.9%" in decision.reason


def test_five_percent_are() -> None:
    """Cloud-only at 101 ms against 107 ms gains 5.6%: it is taken, with the numbers in the reason."""
    problem = chain(edge_ms=107.0)
    decision = decide_from(problem, Cut.edge_only(problem.graph), light())
    assert decision.switched
    assert decision.reason == "6% better than edge-only at 107 ms: cloud-only at 101 ms"


def test_a_cut_that_is_hardly_better_than_the_edge_alone_is_not_worth_a_cloud() -> None:
    """Cloud-only at 101 ms, edge-only at 103: the edge alone, at first and after another cut. At 106 it is not."""
    problem = chain(edge_ms=103.0)
    first = decide(problem.frontier, light())
    assert (first.cut.label, first.switched) == ("edge-only", True)
    assert first.lower_bound_ms == pytest.approx(101)
    assert decide(chain(edge_ms=106.0).frontier, light()).cut.label == "cloud-only"
    graph = ModelGraph.from_links({"s": 100, "m": 900, "t": 1}, [("s", "m"), ("m", "t")])
    longer = Problem(graph, {"s": 0.0, "m": 50.0, "t": 53.0}, {"s": 0.0, "m": 1.0, "t": 0.0})
    left = decide_from(longer, Cut.from_label(graph, "after m"), light())
    assert (left.cut.label, left.switched) == ("edge-only", True)


def test_a_cut_that_is_no_better_than_the_edge_alone_is_left_at_any_gain() -> None:
    """Cloud-only at 101 ms, edge-only at 99: a cloud has to earn what depends on it. It is not taken again at 103."""
    problem = chain(edge_ms=99.0)
    decision = decide_from(problem, Cut.cloud_only(problem.graph), light())
    assert (decision.cut.label, decision.switched) == ("edge-only", True)
    assert decision.reason == "2% better than cloud-only at 101 ms: edge-only at 99 ms"
    slower = chain(edge_ms=103.0)
    assert not decide_from(slower, Cut.edge_only(problem.graph), light()).switched
    assert not decide_from(slower, Cut.cloud_only(problem.graph), light()).switched


def test_a_plan_that_no_longer_keeps_the_rate_is_left_at_any_gain() -> None:
    """The present cut's bottleneck has grown past the period: the switch is made though latency gets worse."""
    graph = ModelGraph.from_links({"s": 10, "m": 90, "t": 1}, [("s", "m"), ("m", "t")])
    problem = Problem(graph, {"s": 0.0, "m": 50.0, "t": 50.0}, {"s": 0.0, "m": 0.0, "t": 5.0})
    conditions = Conditions(bandwidth_bps=ONE_BYTE_PER_MS, rtt_ms=100.0, rate_fps=1000 / 95)
    decision = decide_from(problem, Cut.edge_only(graph), conditions)
    assert decision.mode is Mode.HEAVY
    assert decision.switched
    assert decision.prediction.latency_ms > 100
    assert "edge-only sustains 10 of 10.5 frames/s" in decision.reason


@pytest.mark.parametrize(
    ("sent", "edge", "cloud_ms", "present"),
    [
        (
            91,
            {"m": 1.0, "t": 97.0},
            0.5,
            "edge-only",
        ),  # the best takes 92 ms, and nothing keeps the rate with room
        (30, {"m": 40.0, "t": 55.0}, 30.0, "after m"),  # the best takes 95 ms, and the present one has room
    ],
)
def test_a_plan_that_is_kept_for_its_room_is_no_overload(
    sent: int, edge: dict[str, float], cloud_ms: float, present: str
) -> None:
    """It keeps the rate, and so do better ones, only just: the load is light, whatever a higher rate would be."""
    graph = ModelGraph.from_links({"s": 1000, "m": sent, "t": 1}, [("s", "m"), ("m", "t")])
    problem = Problem(graph, edge | {"s": 0.0}, {"s": 0.0, "m": 0.0, "t": cloud_ms})
    conditions = Conditions(bandwidth_bps=ONE_BYTE_PER_MS, rate_fps=10.0)
    decision = decide_from(problem, Cut.from_label(graph, present), conditions)
    assert not decision.switched
    assert decision.cut.label == present
    assert decision.mode is Mode.LIGHT
    assert decision.sustainable_fps > 10
    assert "would only just keep 10 frames/s" in decision.reason


def test_no_link_leaves_the_cloud_at_once() -> None:
    """At bandwidth zero only the edge is left, whatever the gain."""
    problem = chain(edge_ms=1e6)
    decision = decide_from(problem, Cut.cloud_only(problem.graph), light(bandwidth_bps=0.0))
    assert decision.switched
    assert decision.cut.label == "edge-only"
    assert "no link" in decision.reason


def test_overload_tells_the_rate_that_can_be_sustained() -> None:
    """At 100 frames/s and a least bottleneck of 50 ms, 20 frames/s can be sustained."""
    problem = chain(edge_ms=50.0)
    decision = decide(problem.frontier, Conditions(bandwidth_bps=ONE_BYTE_PER_MS, rate_fps=100.0))
    assert decision.mode is Mode.OVERLOADED
    assert decision.sustainable_fps == pytest.approx(20)


@pytest.mark.parametrize("field", ["bandwidth_bps", "rtt_ms", "answer_ms", "edge_scale", "rate_fps"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_conditions_refuse_what_no_measurement_gives(field: str, value: float) -> None:
    """Not-a-number, infinity and negative values never reach the planner."""
    with pytest.raises(ValueError, match=field):
        Conditions(**{"bandwidth_bps": 1.0, field: value})
