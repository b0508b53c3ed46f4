"""Which cuts are measured, and how often frames come."""

from __future__ import annotations

import pytest

from benchmarks.bench_candidates import SPARE, Candidate, period_ms, select, share_periods
from benchmarks.bench_rows import CLOUD_ONLY, EDGE_ONLY
from common.partition.decide import Conditions
from tests.benchmarks.bench_examples import CANDIDATES

FAST, SLOW = Conditions(bandwidth_bps=100e6), Conditions(bandwidth_bps=2e6)


def test_a_cut_is_predicted_as_the_planner_does() -> None:
    """Edge-only takes neither link nor cloud; any other cut all three, and the round trip."""
    conditions = Conditions(bandwidth_bps=8e6, rtt_ms=5.0, edge_scale=2.0)
    cloud_only, early, _, edge_only = CANDIDATES
    assert edge_only.predict(conditions).latency_ms == 640.0
    assert early.predict(conditions).latency_ms == pytest.approx(200 + 80 + 28 + 5)
    assert cloud_only.predict(conditions).link_ms == pytest.approx(200.0)


def test_the_ends_are_always_measured_and_others_where_they_may_be_the_best() -> None:
    """On a fast link nothing comes near cloud-only; on a slow one two cuts do, the best first."""
    assert [c.label for c in select(CANDIDATES, FAST, within=1.5, most=6)] == [CLOUD_ONLY, EDGE_ONLY]
    labels = [c.label for c in select(CANDIDATES, SLOW, within=1.5, most=6)]
    assert labels == ["after late", EDGE_ONLY, CLOUD_ONLY]
    assert "after early" in [c.label for c in select(CANDIDATES, SLOW, within=2.0, most=6)]


def test_no_more_than_the_most_come_into_question_but_always_the_one_in_force() -> None:
    """Of many near ones the best are taken; the cut that runs is measured however it is predicted."""
    near = [Candidate(f"after {n}", 240.0 + n, 4_000.0, 10.0) for n in range(9)]
    chosen = select([*CANDIDATES, *near], SLOW, within=1.5, most=3, always="after early")
    between = [c.label for c in chosen if c.label not in (EDGE_ONLY, CLOUD_ONLY)]
    assert between == ["after late", "after 0", "after 1", "after early"]


def test_a_few_others_are_drawn_by_lot_from_those_that_were_told_of() -> None:
    """The same each time; none that takes three times as long as the best."""
    more = [Candidate(f"after {n}", 400.0 + n, 4_000.0, 10.0) for n in range(20)]
    told = [*(f"after {n}" for n in range(5, 15)), "after far"]
    cuts = [*CANDIDATES, *more, Candidate("after far", 2_000.0, 4_000.0, 10.0)]
    first = select(cuts, SLOW, within=1.5, most=6, any_of=told, by_lot=2)
    drawn = {c.label for c in first} - {c.label for c in select(cuts, SLOW, within=1.5, most=6)}
    assert len(drawn) == 2
    assert drawn <= set(told[:-1])
    assert select(cuts, SLOW, within=1.5, most=6, any_of=told, by_lot=2) == first
    assert len(select(cuts, SLOW, within=1.5, most=6, any_of=["after far"], by_lot=2)) == len(first) - 2


def test_frames_come_seldom_enough_for_the_best_cut() -> None:
    """Its slowest stage has `SPARE` times what it needs."""
    assert period_ms(CANDIDATES, FAST) == pytest.approx(SPARE * 40.0)
    assert period_ms(CANDIDATES, SLOW) == pytest.approx(SPARE * 240.0)


def test_links_share_a_period_where_theirs_are_alike() -> None:
    """A group's longest period is at most twice its shortest; all links are in one group, in order."""
    groups = share_periods({1e6: 400.0, 4e6: 300.0, 8e6: 180.0, 20e6: 80.0, 50e6: 60.0, 100e6: 60.0})
    assert groups == [(400.0, (1e6, 4e6)), (180.0, (8e6,)), (80.0, (20e6, 50e6, 100e6))]
    assert share_periods({4e6: 100.0, 1e6: 60.0}) == [(100.0, (1e6, 4e6))]
