"""When a plan is looked at out of turn."""

from __future__ import annotations

from edge_daemon.off_plan import OffPlan


def test_a_link_half_as_fast_or_twice_is_looked_at_at_once() -> None:
    """What lies nearer is left for the interval; so is what nothing is known of."""
    for found_bps, looked in (
        (4e6, True),
        (9e6, False),
        (11e6, False),
        (20e6, True),
        (0.0, False),
        (None, False),
    ):
        assert OffPlan(5.0).found(10e6, found_bps, 1.0) is looked
    assert not OffPlan(5.0).found(None, 4e6, 1.0)


def test_what_is_found_after_that_counts_sooner() -> None:
    """A first estimate of 5.7 Mbit/s on a link that has fallen from 50 to 4: the next one is 1.5 × lower, or less."""
    off = OffPlan(5.0)
    assert off.found(50e6, 5.7e6, 10.0)
    assert not off.found(5.7e6, 3.9e6, 10.9), "not twice in a second"
    assert off.found(5.7e6, 3.9e6, 11.0)
    assert not off.found(3.9e6, 3.7e6, 12.0), "near enough"
    assert off.found(4.9e6, 3.9e6, 14.9)
    assert not off.found(4.9e6, 3.9e6, 15.9), "the interval is over: it comes by itself"


def test_a_collapse_is_seen_at_once_though_the_plan_has_just_been_looked_at() -> None:
    """For a small reason; for a great one it is not looked at twice in a second."""
    off = OffPlan(5.0)
    assert off.found(50e6, 5.7e6, 10.0)
    assert off.found(5.0e6, 3.9e6, 11.0)
    assert off.found(3.9e6, 0.8e6, 11.1)
    assert not off.found(3.9e6, 0.8e6, 11.9)


def test_a_link_that_wavers_is_not_looked_at_for_ever() -> None:
    """Only one that is far off begins such an interval."""
    off = OffPlan(5.0)
    assert off.found(50e6, 5.7e6, 10.0)
    assert [off.found(5e6, 6.5e6, 10.0 + second) for second in range(1, 9)] == [True] * 4 + [False] * 4
