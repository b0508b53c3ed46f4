"""Facts about how long frames wait for the cloud."""

from __future__ import annotations

import math

import pytest

from common.plan import Cut, Mode, Plan, Prediction, stages_of
from edge_daemon.patience import (
    Progress,
    edge_free_in_s,
    edge_ready_in_s,
    hedge_s,
    is_worth_hedging,
    is_worth_sending,
    is_worth_sending_after_all,
    late_s,
    longest_s,
    look_s,
    pace_told,
    patience_s,
)
from tests.edge_daemon.pipeline_line import GRAPH, SPLIT


def plan(
    times: tuple[float, float, float, float] | None,
    mode: Mode = Mode.LIGHT,
    edge_only_ms: float | None = None,
    cut: Cut = SPLIT,
    bandwidth_bps: float | None = None,
) -> Plan:
    """A plan that was predicted to take so long: on the edge, the link, the cloud, and as a whole."""
    prediction = None
    if times is not None:
        edge, link, cloud, latency = times
        prediction = Prediction(edge_ms=edge, link_ms=link, cloud_ms=cloud, latency_ms=latency)
    return Plan(
        epoch=1,
        mode=mode,
        cut=cut,
        stages=stages_of(cut, GRAPH.sink),
        reason="a test",
        prediction=prediction,
        edge_only_ms=edge_only_ms,
        bandwidth_bps=bandwidth_bps,
    )


@pytest.mark.parametrize(
    ("prediction", "mode", "seconds"),
    [
        (None, Mode.STARTING, 10.0),
        (None, Mode.PINNED, 10.0),
        ((10.0, 20.0, 30.0, 65.0), Mode.LIGHT, 1.0),
        ((10.0, 400.0, 100.0, 520.0), Mode.LIGHT, 4 * 0.510),
        ((10.0, 400.0, 100.0, 520.0), Mode.HEAVY, 4 * (0.510 + 4 * 0.4)),
        ((900.0, 400.0, 100.0, 1410.0), Mode.DRAIN, 4 * (0.510 + 4 * 0.9)),
    ],
)
def test_patience_follows_what_is_predicted_beyond_the_edge(
    prediction: tuple[float, float, float, float] | None, mode: Mode, seconds: float
) -> None:
    """Four times link, tail and the frames in line before it; at least a second, and ten while nothing is known."""
    assert patience_s(plan(prediction, mode)) == pytest.approx(seconds)


def test_a_wait_is_late_when_it_is_beyond_the_plan_and_the_edge_is_quicker() -> None:
    """Twice the predicted latency, or what the edge alone takes, whichever is more; never where nothing is known,
    nor under a plan for throughput, where frames wait in line by design."""
    times = (1.0, 1.0, 1.0, 3.0)
    assert late_s(plan(times, edge_only_ms=1.0)) == pytest.approx(0.006)
    assert late_s(plan(times, edge_only_ms=400.0)) == pytest.approx(0.4)
    assert late_s(plan(times, Mode.HEAVY, edge_only_ms=1.0)) == pytest.approx(0.024)
    assert late_s(plan(times)) == math.inf
    for mode in (Mode.DRAIN, Mode.OVERLOADED, Mode.PINNED):
        assert late_s(plan(times, mode, edge_only_ms=1.0)) == math.inf


def test_the_edge_looks_at_a_late_frame_once_that_may_be_worth_its_work() -> None:
    """Twice what was predicted beyond the edge, or half of what the edge takes for the rest, whichever is more."""
    assert hedge_s(plan((10.0, 40.0, 20.0, 75.0), edge_only_ms=150.0)) == pytest.approx(0.130)
    assert hedge_s(plan((10.0, 4.0, 2.0, 17.0), edge_only_ms=150.0)) == pytest.approx(0.070)


def test_an_edge_without_time_to_spare_computes_no_frame_in_vain() -> None:
    """Only light load, and only where the edge's own time is known."""
    times = (10.0, 40.0, 20.0, 75.0)
    assert hedge_s(plan(times)) == math.inf
    assert hedge_s(plan(None, edge_only_ms=150.0)) == math.inf
    for mode in Mode:
        if mode is not Mode.LIGHT:
            assert hedge_s(plan(times, mode, edge_only_ms=150.0)) == math.inf


@pytest.mark.parametrize(
    ("delivered", "outstanding", "worth"),
    [(20_000, 180_000, True), (100_000, 100_000, False), (0, 200_000, True), (200_000, 0, True)],
    ids=["a slow link", "half of it there", "a dead link", "the cloud is late"],
)
def test_the_edge_finishes_a_frame_where_it_has_the_answer_before_the_link(
    delivered: int, outstanding: int, worth: bool
) -> None:
    """140 ms for the edge; at the pace of the first 100 ms the rest of the bytes takes 900 ms, or 100."""
    times = (10.0, 40.0, 20.0, 75.0)
    progress = Progress(delivered, outstanding, waited_s=0.1)
    assert is_worth_hedging(plan(times, edge_only_ms=150.0), progress) is worth


def test_the_link_is_looked_at_once_a_frames_bytes_should_long_have_arrived() -> None:
    """Twice what its bytes were to take, and a moment; only under light load, and where something was predicted."""
    times = (10.0, 40.0, 20.0, 75.0)
    assert look_s(plan(times, edge_only_ms=150.0)) == pytest.approx(0.130)
    assert look_s(plan(None, edge_only_ms=150.0)) == math.inf
    for mode in (Mode.HEAVY, Mode.DRAIN, Mode.OVERLOADED):
        assert look_s(plan(times, mode, edge_only_ms=150.0)) == math.inf


def test_progress_tells_what_the_link_carries() -> None:
    """As long as there is something left on it."""
    assert Progress(50_000, 150_000, 0.1).bps == pytest.approx(4e6)
    assert Progress(50_000, 150_000, 0.1).left_s == pytest.approx(0.3)
    assert Progress(200_000, 0, 0.1).bps is None
    assert Progress(200_000, 0, 0.1).left_s == 0
    assert Progress(0, 10, 0.1).left_s == math.inf
    assert Progress(50_000, 150_000, 0.1).since(Progress(20_000, 180_000, 0.05)) == Progress(
        30_000, 150_000, 0.05
    )


def test_a_lost_packet_is_told_from_a_slow_link() -> None:
    """Nothing came between two looks: by the pace before something was due, unless a packet takes longer."""
    lost_the_last = Progress(36_000, 1_227, 0.33)
    assert Progress(36_000, 1_227, 0.38).has_stopped_since(lost_the_last)
    assert not Progress(37_227, 0, 0.38).has_stopped_since(lost_the_last)
    assert not Progress(36_001, 1_226, 0.38).has_stopped_since(lost_the_last)
    assert Progress(90_000, 60_000, 0.38).has_stopped_since(Progress(90_000, 60_000, 0.33)), "13 kB were due"
    slow = Progress(5_792, 180_000, 0.33)  # 140 kbit/s: 0.9 kB in 50 ms
    assert not Progress(5_792, 180_000, 0.38).has_stopped_since(slow)
    assert not Progress(0, 180_000, 0.38).has_stopped_since(Progress(0, 180_000, 0.33)), "dead from the first"
    assert not Progress(0, 180_000, 0.0).has_stopped_since(Progress(0, 180_000, 0.0))


def test_a_late_frame_tells_what_moves_now() -> None:
    """What came between two looks, where that is enough to tell; else all, by which a very slow link is known."""
    first = Progress(60_000, 120_000, 0.30)
    assert pace_told(first, Progress(85_000, 95_000, 0.425)) == Progress(25_000, 95_000, 0.125)
    assert pace_told(first, Progress(61_448, 118_552, 0.35)) == Progress(61_448, 118_552, 0.35)
    assert pace_told(first, Progress(60_000, 120_000, 0.35)) is None
    assert pace_told(None, Progress(0, 120_000, 0.001)) is None


def test_a_frame_that_moves_is_waited_for_until_the_edge_would_have_had_it() -> None:
    """Its patience, and what the edge takes for the rest; no longer than patience where that is not known."""
    times = (10.0, 400.0, 100.0, 520.0)
    assert longest_s(plan(times, edge_only_ms=1810.0)) == pytest.approx(4 * 0.510 + 1.8)
    assert longest_s(plan(times)) == pytest.approx(4 * 0.510)
    assert longest_s(plan(None)) == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("ahead", "worth"),
    [
        (None, True),
        (Progress(185_000, 0, 0.25), True),
        (Progress(100_000, 85_000, 0.02), True),
        (Progress(125_000, 60_000, 0.25), False),
        (Progress(125_000, 10_000, 0.25), True),
        (Progress(0, 185_000, 0.25), False),
    ],
    ids=["nobody there", "all arrived", "on time", "a slow link", "nearly free", "a dead link"],
)
def test_no_frame_is_sent_behind_bytes_that_take_longer_than_the_edge(
    ahead: Progress | None, worth: bool
) -> None:
    """185 kB at the planned 50 Mbit/s, 450 ms on the edge: at the 4 Mbit/s that a late frame shows, 60 kB before it
    and its own take 490 ms and the cloud 50; 10 kB and its own 440."""
    times = (0.0, 30.0, 50.0, 80.0)
    assert is_worth_sending(plan(times, edge_only_ms=500.0, bandwidth_bps=50e6), 185_000, ahead) is worth


@pytest.mark.parametrize(("wait_s", "worth"), [(0.0, False), (0.1, True), (math.inf, True)])
def test_an_edge_that_is_busy_takes_longer(wait_s: float, worth: bool) -> None:
    """The cloud would have the answer in 540 ms, the edge in 500 once it is free."""
    times = (0.0, 30.0, 50.0, 80.0)
    known = plan(times, edge_only_ms=500.0, bandwidth_bps=50e6)
    assert is_worth_sending(known, 185_000, Progress(125_000, 60_000, 0.25), wait_s) is worth


def test_how_long_an_edge_is_busy_is_known_by_its_frames() -> None:
    """Each takes what the edge takes for the cloud's part, the present one what is left of that."""
    times = (10.0, 30.0, 50.0, 90.0)
    known = plan(times, edge_only_ms=510.0)
    assert edge_free_in_s(known, 0.0, 0) == 0.0
    assert edge_free_in_s(known, 0.2, 0) == pytest.approx(0.3)
    assert edge_free_in_s(known, 0.2, 2) == pytest.approx(1.3)
    assert edge_free_in_s(known, 9.0, 0) == 0.0
    assert edge_free_in_s(plan(times), 0.0, 0) == 0.0
    assert edge_free_in_s(plan(times), 0.1, 0) == math.inf


def test_frames_wait_in_line_where_that_is_the_plan_or_nothing_is_known() -> None:
    """Under plans for throughput, without a prediction, and where nobody knows what the edge takes."""
    times, ahead = (0.0, 30.0, 50.0, 80.0), Progress(125_000, 180_000, 0.25)
    assert is_worth_sending(plan(None, edge_only_ms=500.0, bandwidth_bps=50e6), 185_000, ahead)
    assert is_worth_sending(plan(times, bandwidth_bps=50e6), 185_000, ahead)
    for mode in Mode:
        known = plan(times, mode, edge_only_ms=500.0, bandwidth_bps=50e6)
        assert is_worth_sending(known, 185_000, ahead) is (mode is not Mode.LIGHT)


NOTHING = Progress(1_000, 200_000, 0.05)
FOUR_MBPS = Progress(50_000, 200_000, 0.1)


@pytest.mark.parametrize(
    ("outstanding", "pace", "left_s", "worth"),
    [
        (200_000, NOTHING, 60.0, False),
        (200_000, FOUR_MBPS, 0.9, True),
        (200_000, FOUR_MBPS, 0.7, False),
        (0, FOUR_MBPS, 0.5, True),
        (0, FOUR_MBPS, 0.3, False),
        (0, NOTHING, 0.1, True),
        (0, NOTHING, 0.05, False),
        (0, NOTHING, math.inf, False),
        (0, NOTHING, -1.0, False),
    ],
)
def test_a_frame_that_the_edge_has_begun_is_sent_once_the_cloud_would_be_quicker(
    outstanding: int, pace: Progress, left_s: float, worth: bool
) -> None:
    """185 kB take 370 ms at the 4 Mbit/s seen, and 30 at the planned 50 where nothing is left that would tell; the
    cloud takes 50."""
    known = plan((0.0, 30.0, 50.0, 80.0), edge_only_ms=1600.0, bandwidth_bps=50e6)
    assert is_worth_sending_after_all(known, 185_000, outstanding, pace, left_s) is worth


def test_a_frame_that_the_edge_has_begun_is_left_to_it_where_nothing_is_known() -> None:
    """Without a prediction or a rate there is nothing to hope for; under plans for throughput the line is full."""
    times = (0.0, 30.0, 50.0, 80.0)
    unknown = (plan(None, bandwidth_bps=50e6), plan(times), plan(times, Mode.HEAVY, bandwidth_bps=50e6))
    assert not any(is_worth_sending_after_all(one, 185_000, 0, NOTHING, 9.0) for one in unknown)


def test_an_edge_is_ready_when_it_has_begun_and_run_the_rest() -> None:
    assert edge_ready_in_s(plan((10.0, 30.0, 50.0, 90.0), edge_only_ms=510.0), 0.3) == pytest.approx(0.8)
    assert edge_ready_in_s(plan((10.0, 30.0, 50.0, 90.0)), 0.0) == math.inf
