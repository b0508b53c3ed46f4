"""The bars, judged by rows that are made up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from benchmarks.bench_bars import ADAPTATION_MODELS, STAGES, THROUGHPUT_MODELS, State, Verdict
from benchmarks.bench_rows import MODELS, RATES_BPS, AdaptationRow, RegretRow, ThroughputRow
from benchmarks.bench_verdicts import prediction_errors, verdicts
from tests.benchmarks.bench_examples import adaptation_row, regret_row, series, throughput_row


def all_points(adaptive: float = 100.0, predicted: float = 1.0) -> list[RegretRow]:
    return [
        regret_row(adaptive, model=model, rate_bps=rate, predicted=predicted)
        for model in MODELS
        for rate in RATES_BPS
    ]


def all_cuts() -> list[ThroughputRow]:
    return [throughput_row(bound_by=stage, model=model) for model in THROUGHPUT_MODELS for stage in STAGES]


def all_steps() -> list[AdaptationRow]:
    return [adaptation_row(model=model, step=step) for model in ADAPTATION_MODELS for step in (1, 2, 3, 4)]


def of_regret(rows: Sequence[RegretRow]) -> Sequence[Verdict]:
    return verdicts(rows, [], [], [])["regret"]


def of_throughput(rows: Sequence[ThroughputRow]) -> Sequence[Verdict]:
    return verdicts([], rows, [], [])["throughput"]


def of_adaptation(rows: Sequence[AdaptationRow]) -> Sequence[Verdict]:
    return verdicts([], [], [], rows)["adaptation"]


def states(found: Sequence[Verdict]) -> list[State]:
    return [verdict.state for verdict in found]


def test_what_was_not_measured_is_said_to_be_open() -> None:
    """No section has a verdict without rows."""
    for found in verdicts([], [], [], []).values():
        assert set(states(found)) == {State.OPEN}
        assert not any(verdict.found for verdict in found)


def test_all_bars_can_be_met() -> None:
    """Every point, every cut, every step, each within its bar."""
    assert states(of_regret(all_points())) == [State.MET] * 4
    assert states(of_throughput(all_cuts())) == [State.MET] * 2
    assert states(of_adaptation(all_steps())) == [State.MET] * 3


def test_bars_that_hold_at_what_there_is_hold_only_so_far() -> None:
    """A point, a model's cut or a step that is missing may be the one that misses the bar."""
    assert states(of_regret(all_points()[:5])) == [State.PARTLY] * 4
    assert states(of_throughput(all_cuts()[1:])) == [State.PARTLY, State.MET], "the link's cuts are all there"
    assert states(of_throughput(all_cuts()[:3])) == [State.PARTLY] * 2
    assert states(of_adaptation(all_steps()[:-1])) == [State.PARTLY] * 3


def test_points_that_no_bar_is_about_are_not_judged() -> None:
    """Other models and other links may be measured, too."""
    others = [
        regret_row(200.0, model="alexnet", predicted=2.0),
        regret_row(200.0, rate_bps=2e6, predicted=2.0),
    ]
    assert states(of_regret([*all_points(), *others])) == [State.MET] * 4
    assert states(of_regret(others)) == [State.OPEN] * 4


@pytest.mark.parametrize(
    ("worse", "adaptive", "missed"),
    [
        (4, 106.0, [False, False, True]),
        (5, 104.9, [False, False, False]),
        (5, 106.0, [True, False, True]),
        (1, 116.0, [False, True, True]),
    ],
)
def test_regret_is_judged_by_share_worst_and_ends(worse: int, adaptive: float, missed: list[bool]) -> None:
    """Four of 42 points may be above 1.05, none above 1.15, and none above 1.05 × the better end."""
    rows = [*all_points(adaptive)[:worse], *all_points()[worse:]]
    assert [state is State.MISSED for state in states(of_regret(rows))[:3]] == missed


def test_a_middle_cut_that_is_better_is_no_end() -> None:
    """Behind the best static cut, not behind the better end: only the regret's bars are missed."""
    found = of_regret([regret_row(100.0, middle=80.0)])
    assert states(found)[:3] == [State.MISSED, State.MISSED, State.PARTLY]


def test_predictions_are_judged_without_the_ends_which_tell_the_devices_speed() -> None:
    """Of three cuts at each point one is predicted; the found text counts those."""
    rows = all_points(predicted=1.11)
    assert len(prediction_errors(rows)) == len(rows)
    missed = of_regret(rows)[3]
    assert (missed.state, missed.found) == (State.MISSED, "0% of 42 cuts; median +11.0%, worst +11%")
    assert of_regret(all_points(predicted=0.91))[3].state is State.MET


def test_a_median_of_nothing_meets_no_bar() -> None:
    """A cut that seems to take no time is no cut to be compared with; and nobody divides by it."""
    row = regret_row(middle=0.0)
    assert row.best.frames.median == 0.0
    assert states(of_regret([row])) == [State.MISSED, State.MISSED, State.PARTLY, State.MISSED]
    ends = [replace(cut, frames=series(0.0, 0.0)) for cut in regret_row().cuts]
    assert states(of_regret([replace(row, cuts=tuple(ends))])) == [State.MISSED] * 4
    still = replace(adaptation_row(), steady_ms=0.0, steady_before_ms=0.0, in_flight_ms=0.0)
    assert of_adaptation([still])[2].state is State.MISSED


def test_throughput_is_judged_by_the_worst_cut_and_the_link_by_those_it_bounds() -> None:
    """A cut bound by the cloud need not fill the link."""
    slow = throughput_row(fps=9.2, bound_by="cloud", bytes_per_s=0.5e6)
    assert states(of_throughput([*all_cuts(), slow])) == [State.MISSED, State.MET]
    idle = throughput_row(bytes_per_s=0.94e6)
    assert states(of_throughput([*all_cuts(), idle])) == [State.MET, State.MISSED]


def test_frames_that_fell_back_make_no_cut_meet_its_bar() -> None:
    """However many others there were; the verdict says how many."""
    found = of_throughput([*all_cuts(), throughput_row(fallbacks=2)])
    assert states(found) == [State.MISSED] * 2
    assert all(verdict.found.endswith(", 2 frames failed or finished on the edge") for verdict in found)
    assert found[0].found.startswith("9 of 10 cuts; least 0.950 (resnet18 at 8 Mbit/s, cloud-only)")


def test_more_than_the_link_carries_is_no_measurement() -> None:
    """iperf3 read too little: that row meets no bar and misses none, and the verdict names it."""
    misread = throughput_row(fps=13.3, bytes_per_s=1.33e6)
    found = of_throughput([*all_cuts(), misread])
    assert states(found) == [State.PARTLY] * 2
    note = "no measurement: resnet18 at 8 Mbit/s, cloud-only (133.0% of iperf3)"
    assert all(verdict.found.endswith(f"; {note}") for verdict in found)
    assert [(verdict.state, verdict.found) for verdict in of_throughput([misread])] == [
        (State.OPEN, note)
    ] * 2


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (adaptation_row(planned_s=6.1), [State.MISSED, State.MET, State.MET]),
        (adaptation_row(planned_s=None), [State.MISSED, State.MET, State.MET]),
        (adaptation_row(lost=1), [State.MET, State.MISSED, State.MET]),
        (adaptation_row(worst_ms=1001.0), [State.MET, State.MET, State.MISSED]),
    ],
)
def test_adaptation_is_judged_by_time_frames_and_the_worst_frame(
    row: AdaptationRow, expected: list[State]
) -> None:
    """One step that misses is enough."""
    assert states(of_adaptation([*all_steps(), row])) == expected
