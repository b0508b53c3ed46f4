"""Facts about what the link carries now, from iperf3 and from the traffic's own goodput."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import limits
from edge_daemon.link_estimate import (
    FASTEST_BPS,
    FASTEST_PACED_BPS,
    PACE,
    RECENT,
    STALE_S,
    BandwidthSample,
    LinkEstimate,
    Origin,
    goodput,
)


def sample(bps: float, at: float = 0.0, origin: Origin = "traffic") -> BandwidthSample:
    return BandwidthSample(bps, at, origin)


def estimate(*samples: BandwidthSample) -> LinkEstimate:
    found = LinkEstimate()
    for one in samples:
        found.add(one)
    return found


def test_a_transfer_under_way_lowers_what_was_believed_at_once() -> None:
    """It outweighs all before it; one that is as fast as believed, or faster, tells nothing new."""
    link = estimate(sample(50e6), sample(52e6, 1.0), sample(51e6, 2.0))
    link.add_transfer(1_000_000, 160.0, 2.0)
    link.add_slow(sample(60e6, 2.5))
    assert link.bandwidth_bps == pytest.approx(51e6)
    link.add_slow(sample(3e6, 3.0))
    assert link.bandwidth_bps == pytest.approx(3e6)
    link.add(sample(4e6, 3.5))
    link.add(sample(4e6, 4.0))
    assert link.bandwidth_bps == pytest.approx(4e6)


def test_bytes_are_paced_at_a_little_more_than_the_bandwidth() -> None:
    """A queue before the slowest link has room for the difference, and the link is found as fast as it is."""
    assert estimate().pace_bps is None, "nothing is known"
    assert estimate(sample(8e6), sample(8e6, 1.0)).pace_bps == PACE * 8e6
    assert PACE > 1.0
    assert estimate(sample(8e6), sample(4e6, 1.0)).pace_bps == PACE * 6e6, "one that was slow for a moment"


def test_a_link_that_may_have_become_faster_is_not_paced() -> None:
    """A pace hides how fast: the first sample says as much as it lets through, and the next ones all of it."""
    link = estimate(*(sample(4e6, float(at)) for at in range(RECENT)))
    link.add(sample(PACE * 4e6, 10.0))
    assert link.pace_bps is None
    for at in range(RECENT):
        link.add(sample(50e6, 11.0 + at))
    assert link.pace_bps == PACE * 50e6


def test_a_fast_link_is_not_paced() -> None:
    """A frame is over it in a moment, and one that stood still has no rate to pace by."""
    assert estimate(sample(2 * FASTEST_PACED_BPS)).pace_bps is None
    assert estimate(sample(0.0)).pace_bps is None


def test_a_ping_outweighs_what_a_transfer_under_way_has_shown() -> None:
    """That was of a moment, and the ping is of now; a frame that arrives was on its way in that moment, too."""
    link = estimate(sample(8e6), sample(8e6, 1.0))
    assert link.slow_at is None
    link.add_slow(sample(2e6, 2.0))
    link.add(sample(3e6, 2.1))
    assert link.slow_at == 2.0
    link.add(sample(8e6, 2.2, "ping"))
    assert link.bandwidth_bps == pytest.approx(8e6)
    assert link.slow_at is None


def test_before_anything_was_measured_a_slow_transfer_tells_nothing() -> None:
    """There is nothing that it could be slower than."""
    link = LinkEstimate()
    link.add_slow(sample(3e6))
    assert link.bandwidth_bps is None


def test_goodput_is_bytes_over_time() -> None:
    """A megabyte that arrived in a second is 8 Mbit/s."""
    found = goodput(1000.0, 1_000_000, 5.0, "traffic")
    assert found == BandwidthSample(8e6, 5.0, "traffic")


def test_too_few_bytes_tell_no_bandwidth() -> None:
    """A few bytes after the first read would tell the kernel's buffers and not the link."""
    assert goodput(10.0, limits.MIN_GOODPUT_BYTES - 1, 0.0, "ping") is None
    assert goodput(0.0, 0, 0.0, "ping") is None


def test_what_arrives_at_once_tells_a_fast_link() -> None:
    """No time at all between the bytes is a sample all the same, or a fast link would never be known."""
    assert goodput(0.0, 10**6, 0.0, "ping") == BandwidthSample(FASTEST_BPS, 0.0, "ping")
    assert goodput(1e-6, 10**6, 0.0, "ping") == BandwidthSample(FASTEST_BPS, 0.0, "ping")


def test_nothing_is_known_at_first_nor_after_forgetting() -> None:
    """No bandwidth is none, not zero; when the link was gone nothing measured before it holds."""
    found = LinkEstimate()
    assert (found.bandwidth_bps, found.rtt_ms, found.newest_at(), found.origin) == (None, 0.0, None, None)
    found.add(sample(5e6, 1.0))
    found.add_round_trip(3.0)
    found.forget()
    assert (found.bandwidth_bps, found.rtt_ms, found.newest_at(), found.origin) == (None, 0.0, None, None)


def test_one_outlier_does_not_move_the_estimate_and_three_of_a_change_do() -> None:
    """The median of the last five: noise is not chased, a new bandwidth is believed after three frames."""
    found = estimate(*(sample(10e6, i) for i in range(RECENT)))
    found.add(sample(1e6, 6.0))
    assert found.bandwidth_bps == 10e6
    found.add(sample(1e6, 7.0))
    assert found.bandwidth_bps == 10e6
    found.add(sample(1e6, 8.0))
    assert found.bandwidth_bps == 1e6


def test_iperf3_outweighs_all_before_it() -> None:
    """It looked longer and at nothing else; the traffic after it counts again."""
    found = estimate(*(sample(10e6, i) for i in range(RECENT)), sample(2e6, 6.0, "iperf3"))
    assert (found.bandwidth_bps, found.origin, found.newest_at()) == (2e6, "iperf3", 6.0)
    found.add(sample(4e6, 7.0))
    assert (found.bandwidth_bps, found.origin) == (3e6, "traffic")


def test_old_samples_count_only_while_there_are_no_newer_ones() -> None:
    """After a pause the first new sample stands alone."""
    found = estimate(sample(10e6, 0.0), sample(10e6, 1.0), sample(10e6, 2.0))
    assert found.bandwidth_bps == 10e6
    found.add(sample(1e6, 2.5 + STALE_S))
    assert found.bandwidth_bps == 1e6


def test_the_least_of_the_last_round_trips_counts() -> None:
    """The others waited behind tensors; a route that became longer shows after ten pings."""
    found = LinkEstimate()
    for ms in (20.0, 5.0, 80.0):
        found.add_round_trip(ms)
    assert found.rtt_ms == 5.0
    for _ in range(10):
        found.add_round_trip(30.0)
    assert found.rtt_ms == 30.0


@given(st.lists(st.tuples(st.floats(1e3, 1e10), st.floats(0, 100)), min_size=1, max_size=20))
def test_the_estimate_lies_among_its_samples(samples: list[tuple[float, float]]) -> None:
    """Whatever was measured, the estimate is not outside of it, and the newest one is always counted."""
    ordered = sorted(samples, key=lambda pair: pair[1])
    found = estimate(*(sample(bps, at) for bps, at in ordered))
    recent = [bps for bps, _ in ordered[-RECENT:]]
    assert found.bandwidth_bps is not None
    assert min(recent) <= found.bandwidth_bps <= max(recent)
    assert found.newest_at() == ordered[-1][1]


@pytest.mark.parametrize("origin", ["iperf3", "traffic", "ping"])
def test_the_origin_is_the_newest_samples(origin: Origin) -> None:
    """The status shows how the present figure came about."""
    assert estimate(sample(1e6, 0.0), sample(1e6, 1.0, origin)).origin == origin


def test_a_whole_transfer_counts_where_arrivals_tell_less() -> None:
    """After a burst arrivals show only what was sent again; then the frame's own time on the link tells."""
    estimate = LinkEstimate()
    estimate.add_round_trip(10.0)
    for at in range(5):
        estimate.add(BandwidthSample(1e6, float(at), "traffic"))
        estimate.add_transfer(50_000, 210.0, float(at))
    assert estimate.bandwidth_bps == pytest.approx(2e6)


def test_arrivals_count_where_transfers_wait_for_each_other() -> None:
    """With several frames on the way a transfer's time is mostly that of those before it."""
    estimate = LinkEstimate()
    for at in range(5):
        estimate.add(BandwidthSample(8e6, float(at), "traffic"))
        estimate.add_transfer(50_000, 400.0, float(at))
    assert estimate.bandwidth_bps == pytest.approx(8e6)


def test_transfers_too_small_or_too_old_tell_nothing() -> None:
    """A few packets arrive at once whatever the link; what was half a minute ago, or before iperf3, is past."""
    estimate = LinkEstimate()
    estimate.add(BandwidthSample(1e6, 0.0, "traffic"))
    estimate.add_transfer(4_000, 0.5, 0.0)
    assert estimate.bandwidth_bps == 1e6
    estimate.add_transfer(50_000, 10.0, 0.0)
    assert estimate.bandwidth_bps == pytest.approx(40e6)
    for later in range(1, RECENT + 1):
        estimate.add(BandwidthSample(1e6, float(later), "traffic"))
    assert estimate.bandwidth_bps == 1e6, "older than all arrivals that count"
    estimate.add_transfer(50_000, 10.0, STALE_S + 1)
    estimate.add(BandwidthSample(2e6, STALE_S + 2, "iperf3"))
    assert estimate.bandwidth_bps == 2e6
    estimate.add_transfer(50_000, 0.0, STALE_S + 2)
    assert estimate.bandwidth_bps == FASTEST_BPS


def test_a_ping_outweighs_what_was_before_the_pause() -> None:
    """It is sent where traffic has told nothing for seconds: one is enough to see that the link has recovered."""
    found = estimate(*(sample(4e6, float(at)) for at in range(5)))
    found.add(sample(50e6, 10.0, "ping"))
    assert found.bandwidth_bps == 50e6
    beside = estimate(*(sample(4e6, 10.0 + at / 10) for at in range(4)))
    beside.add(sample(50e6, 10.5, "ping"))
    assert beside.bandwidth_bps == 4e6, "among fresh samples it is one of them"


def test_a_ping_that_met_other_traffic_does_not_move_the_estimate() -> None:
    """It shared the link for the few hundredths of a second that it looked; the next one tells."""
    found = estimate(sample(8e6, 0.0))
    found.add(sample(4.2e6, 10.0, "ping"))
    assert (found.bandwidth_bps, found.doubted_bps) == (8e6, 4.2e6)
    found.add(sample(7.9e6, 10.1, "ping"))
    assert (found.bandwidth_bps, found.doubted_bps) == (7.9e6, None)


def test_two_pings_that_find_little_are_believed() -> None:
    """The better of them; and a third is as much in doubt as the first was."""
    found = estimate(sample(8e6, 0.0))
    found.add(sample(4.2e6, 10.0, "ping"))
    found.add(sample(3.9e6, 10.1, "ping"))
    assert (found.bandwidth_bps, found.doubted_bps) == (4.2e6, None)
    found.add(sample(1e6, 10.2, "ping"))
    assert (found.bandwidth_bps, found.doubted_bps) == (4.2e6, 1e6)


@pytest.mark.parametrize("how", ["iperf3", "slow", "gone"])
def test_a_doubt_is_forgotten_with_what_it_was_about(how: str) -> None:
    """A longer look, a transfer that is late, a line that went: the next ping is judged by what is known then."""
    found = estimate(sample(8e6, 0.0))
    found.add(sample(4.2e6, 10.0, "ping"))
    if how == "gone":
        found.forget()
    elif how == "slow":
        found.add_slow(sample(3e6, 10.1))
    else:
        found.add(sample(3e6, 10.1, "iperf3"))
    assert found.doubted_bps is None
    found.add(sample(3.2e6, 20.0, "ping"))
    assert found.bandwidth_bps == 3.2e6


def test_a_standstill_tells_nothing_of_the_rate_once_the_link_goes_on() -> None:
    """Half a second without a byte, and the next transfer is as fast as those before it."""
    estimate = LinkEstimate()
    for at in range(5):
        estimate.add(BandwidthSample(8e6, float(at), "traffic"))
    estimate.add_slow(BandwidthSample(0.0, 5.0, "traffic"))
    assert estimate.bandwidth_bps == 0.0
    estimate.add(BandwidthSample(8e6, 6.0, "traffic"))
    assert estimate.bandwidth_bps == 8e6
