"""Facts about when frames were captured, told from when they came and from the camera's clock."""

from __future__ import annotations

import itertools

import pytest

from edge_daemon.capture_clock import LONGEST_BURST_S, WINDOW_S, CaptureClock


def test_without_a_position_a_frame_is_captured_when_it_comes() -> None:
    """There is nothing better to say."""
    assert CaptureClock().captured_at(100.0, None) == 100.0


def test_jitter_is_taken_out() -> None:
    """Frames of an even camera that come unevenly were captured evenly."""
    clock = CaptureClock()
    delays = [0.0, 0.3, 0.1, 0.0, 0.5]
    found = [clock.captured_at(100.0 + i + delay, float(i)) for i, delay in enumerate(delays)]
    assert found == pytest.approx([100.0, 101.0, 102.0, 103.0, 104.0])


def test_what_comes_in_a_burst_after_a_stall_is_known_to_be_old() -> None:
    """The network held eight seconds of frames, and brought them all at once."""
    clock = CaptureClock()
    clock.captured_at(100.0, 0.0)
    burst = [clock.captured_at(108.0, position) for position in (1.0, 4.0, 8.0)]
    assert burst == pytest.approx([101.0, 104.0, 108.0])


def test_no_frame_is_from_the_future() -> None:
    """Whatever comes quicker than all before it shows that they were late."""
    clock = CaptureClock()
    for arrived, position in ((100.0, 0.0), (100.5, 1.0), (101.9, 2.0), (102.0, 7.0)):
        assert clock.captured_at(arrived, position) <= arrived


def test_a_slow_drift_is_followed() -> None:
    """A camera whose clock is slow by 0.1% never seems to be late by more than it drifts in the window."""
    clock = CaptureClock()
    for second in range(1000):
        arrived = 100.0 + second
        assert arrived - clock.captured_at(arrived, second * 0.999) <= WINDOW_S * 0.001 + 0.01


def test_a_clock_that_is_set_back_begins_anew() -> None:
    """Its frames are not taken for old ones."""
    clock = CaptureClock()
    clock.captured_at(100.0, 5000.0)
    assert clock.captured_at(101.0, 3.0) == pytest.approx(101.0)
    assert clock.captured_at(102.5, 4.0) == pytest.approx(102.0)


def test_a_clock_that_is_set_on_makes_no_frame_newer_than_it_is() -> None:
    """The jump looks like a quicker way, from then on."""
    clock = CaptureClock()
    clock.captured_at(100.0, 0.0)
    assert clock.captured_at(101.0, 3601.0) == pytest.approx(101.0)


def test_frames_that_are_late_for_longer_than_a_burst_are_taken_as_they_come() -> None:
    """A clock that stands still, or runs at half the speed, must not make all frames old for ever."""
    for speed in (0.0, 0.5):
        clock = CaptureClock()
        late = [t for t in range(200) if t - (clock.captured_at(float(t), t * speed)) > 2.0]
        assert late, "at first it is believed"
        runs = [b - a for a, b in itertools.pairwise(late)]
        assert max(runs) > 1, "then it is not"
        assert len(late) <= 200 * (LONGEST_BURST_S + 2) / (LONGEST_BURST_S + 4)


def test_memory_is_bounded() -> None:
    """Only of the window's frames, also when each is later than the one before."""
    clock = CaptureClock()
    for number in range(10_000):
        clock.captured_at(number * 0.1, number * 0.0999)
    assert len(clock._quickest) <= WINDOW_S / 0.1 + 2
