import itertools
import random

import pytest

from common.graph import ModelGraph
from common.partition.bandwidth_map import Interval, least_bottleneck_map, least_latency_map
from common.partition.decide import Conditions
from common.partition.solve import LOWEST_RATE_FPS, Solver, solve
from tests.common.partition.agreement import TooLarge
from tests.graphs import Problem, inception_problem, random_problem, whole_number_problem

LOW_BPS, HIGH_BPS = 1e2, 1e7


def problems(seed: int, count: int) -> list[Problem]:
    rng = random.Random(seed)
    small = [rng.choice([random_problem, whole_number_problem])(rng, 10) for _ in range(count)]
    return [*small, inception_problem(rng, 6)]


def bandwidths(rng: random.Random, intervals: tuple[Interval, ...]) -> list[tuple[Interval, float]]:
    """Some bandwidths of each interval: its ends, and two in between."""
    return [
        (interval, bps)
        for interval in intervals
        for bps in (
            interval.low_bps,
            rng.uniform(interval.low_bps, interval.high_bps),
            (interval.low_bps * interval.high_bps) ** 0.5,
            interval.high_bps,
        )
    ]


def assert_covers(intervals: tuple[Interval, ...]) -> None:
    assert (intervals[0].low_bps, intervals[-1].high_bps) == (LOW_BPS, HIGH_BPS)
    for one, following in itertools.pairwise(intervals):
        assert one.low_bps < one.high_bps == following.low_bps
        assert one.cut != following.cut


@pytest.mark.parametrize("enumerated", [True, False], ids=["frontier", "mincut"])
def test_the_least_latency_everywhere(enumerated: bool) -> None:
    """At the ends of every interval and inside, its cut has the least latency that solving there finds."""
    rng = random.Random(8)
    for problem in problems(6, 40):
        asked = problem if enumerated else TooLarge(problem.graph, problem.edge_ms, problem.cloud_ms)
        intervals = least_latency_map(asked, LOW_BPS, HIGH_BPS, rtt_ms=2.0)
        assert_covers(intervals)
        for interval, bps in bandwidths(rng, intervals):
            conditions = Conditions(bandwidth_bps=bps, rtt_ms=2.0, rate_fps=LOWEST_RATE_FPS)
            expected = solve(problem, conditions, Solver.FRONTIER).value_ms
            found = problem.assess(interval.cut.edge_units, conditions).prediction
            assert found.latency_ms == pytest.approx(expected, rel=1e-9, abs=1e-5)


def test_at_a_boundary_two_cuts_are_as_good() -> None:
    """Both neighbours have the same latency there: the boundary is where they change, exactly."""
    for problem in problems(9, 40):
        for one, following in itertools.pairwise(least_latency_map(problem, LOW_BPS, HIGH_BPS)):
            assert one.at_high.latency_ms == pytest.approx(following.at_low.latency_ms, rel=1e-9)


def test_known_boundaries() -> None:
    """Sending 1,000 bytes for 4 ms and 9 ms of saved time pays from 2 Mbit/s and 8,000/9 kbit/s on."""
    problem = Problem(
        graph=ModelGraph.from_links({"s": 1000, "t": 1}, [("s", "t")]),
        edge_ms={"s": 0.0, "t": 10.0},
        cloud_ms={"s": 0.0, "t": 1.0},
    )
    for rtt_ms, boundary_bps in ((5.0, 2e6), (0.0, 8e6 / 9)):
        edge, cloud = least_latency_map(problem, LOW_BPS, HIGH_BPS, rtt_ms)
        assert edge.high_bps == pytest.approx(boundary_bps)
        assert (edge.cut.label, cloud.cut.label) == ("edge-only", "cloud-only")


def test_the_least_bottleneck_everywhere() -> None:
    """At the ends of every interval and inside, its cut has the least bottleneck that solving there finds."""
    rng = random.Random(10)
    for problem in problems(11, 60):
        intervals = least_bottleneck_map(problem, LOW_BPS, HIGH_BPS)
        assert_covers(intervals)
        for interval, bps in bandwidths(rng, intervals):
            conditions = Conditions(bandwidth_bps=bps)
            expected = solve(problem, conditions, Solver.FRONTIER).value_ms
            found = problem.assess(interval.cut.edge_units, conditions).prediction
            assert found.bottleneck_ms == pytest.approx(expected, rel=1e-9, abs=1e-9)
