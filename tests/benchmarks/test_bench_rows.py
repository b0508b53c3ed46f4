"""What follows from the benchmark's rows by arithmetic."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.bench_rows import CutTimes, Series, Spread, fallen, ratio
from tests.benchmarks.bench_examples import adaptation_row, regret_row, series, throughput_row


def test_regret_is_against_the_best_static_cut_whichever_that_is() -> None:
    """The oracle is the cut of the least median; the better end is only one of the ends."""
    row = regret_row(adaptive=110.0, edge_only=300.0, cloud_only=150.0, middle=100.0)
    assert row.best.label == "after conv"
    assert row.regret == pytest.approx(1.1)
    assert row.against_ends == pytest.approx(110 / 150)


def test_paired_regret_compares_round_by_round() -> None:
    """A machine half as fast in the second round changes the medians, not the ratios of each round."""
    best = CutTimes("after conv", series(100.0, 200.0, 200.0), (100.0,))
    row = replace(regret_row(cloud_only=900.0), adaptive=series(102.0, 204.0, 204.0), cuts=(best,))
    assert row.paired_regret == pytest.approx(1.02)


def test_without_equal_rounds_there_are_no_pairs() -> None:
    """An end that took part in every second round is compared by its median."""
    best = CutTimes("after conv", series(100.0), (100.0,))
    row = replace(regret_row(), adaptive=series(104.0, 110.0), cuts=(best,))
    assert row.paired_regret == row.regret == pytest.approx(1.07)


def test_a_spread_of_one_value_is_that_value() -> None:
    assert Spread.of((3.0,)) == Spread(3.0, 3.0, 3.0)
    assert Spread.of((1.0, 2.0, 3.0, 4.0, 5.0)) == Spread(3.0, 2.0, 4.0)
    assert Series(((1.0, 3.0), (2.0,))).median == 2.0


def test_throughput_is_compared_with_the_slowest_stage_of_the_same_round() -> None:
    """At 9.5 frames/s a stage of 100 ms is busy 95% of the time, and 0.96 of 1 MB/s went up."""
    row = throughput_row()
    assert row.slowest_stage == "link"
    assert row.bottleneck_ms == 100.0
    assert row.of_bottleneck == pytest.approx(0.95)
    assert row.of_iperf == pytest.approx(0.96)


def test_a_frame_may_take_twice_the_new_steady_median_and_what_was_in_flight() -> None:
    """Or a frame as it was before the step, where that is more: after a step up, until the plan follows."""
    down = adaptation_row()
    assert down.allowed_ms == 2 * 300.0 + 400.0
    up = replace(down, steady_before_ms=300.0, steady_ms=80.0, in_flight_ms=0.0)
    assert up.allowed_ms == 2 * 80.0 + 300.0


def test_a_share_of_nothing_meets_no_bar() -> None:
    """Neither one from above nor, told so, one from below; nobody divides by nothing."""
    assert ratio(3.0, 2.0) == 1.5
    assert ratio(1.0, 0.0) == ratio(0.0, 0.0) == float("inf")
    assert ratio(1.0, -1.0, without=0.0) == 0.0


def test_more_than_iperf3_moved_is_a_reading_that_is_too_low() -> None:
    """A little more may be its error, a third more is not."""
    assert not throughput_row(bytes_per_s=1.04e6).misread
    assert throughput_row(bytes_per_s=1.06e6).misread


def test_frames_that_fell_back_are_told_if_there_are_any() -> None:
    """One is one frame."""
    told = [fallen(count) for count in (0, 1, 2)]
    assert told == [
        "",
        ", 1 frame failed or finished on the edge",
        ", 2 frames failed or finished on the edge",
    ]
