"""Facts about how long the edge does without a cloud that let frames down."""

from __future__ import annotations

from edge_daemon.hold_off import HoldOff, hold_off_s


def test_a_cloud_that_lets_frames_down_again_and_again_is_left_alone_for_longer() -> None:
    """Once is an outage and costs no wait; then it doubles, up to a minute."""
    waits = [hold_off_s(times) for times in range(8)]
    assert waits == [0.0, 0.0, 5.0, 10.0, 20.0, 40.0, 60.0, 60.0]
    assert hold_off_s(10_000) == 60.0


def test_what_was_more_than_a_minute_ago_is_forgiven_and_not_forgotten() -> None:
    """The wait counts the last minute; whether it ever happened is another question."""
    hold_off = HoldOff()
    assert not hold_off.ever
    hold_off.let_down(100.0)
    assert hold_off.ever
    assert not hold_off.holds(100.0)
    hold_off.let_down(159.0)
    assert hold_off.holds(163.9)
    assert not hold_off.holds(164.0)
    hold_off.let_down(219.0)
    assert not hold_off.holds(219.0), "the two before it are a minute old"
    assert hold_off.ever
