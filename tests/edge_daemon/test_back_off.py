"""Facts about how long to do without somebody who has let us down."""

from __future__ import annotations

from edge_daemon.back_off import BackOff, Waits

WAITS = Waits(first_s=5.0, longest_s=60.0, forgiven_s=60.0, free=1)


def test_waits_double_up_to_the_longest() -> None:
    """Once may be an outage and costs none; there is no number that is too large."""
    assert [WAITS.after(times) for times in range(8)] == [0.0, 0.0, 5.0, 10.0, 20.0, 40.0, 60.0, 60.0]
    assert WAITS.after(10_000) == 60.0


def test_who_lets_us_down_whenever_tried_is_tried_once_in_the_longest_wait() -> None:
    """The waits themselves are no time in which it went well, however long they are."""
    back_off, now = BackOff(WAITS), 1000.0
    for expected_s in (0.0, 5.0, 10.0, 20.0, 40.0, 60.0, 60.0, 60.0):
        back_off.let_down(now)
        assert not expected_s or back_off.holds(now + expected_s - 0.1)
        assert not back_off.holds(now + expected_s)
        now += expected_s


def test_after_a_while_without_it_begins_anew() -> None:
    """What was longer ago is forgiven; whether it ever happened is another question."""
    back_off = BackOff(WAITS)
    assert not back_off.ever
    assert not back_off.holds(0.0)
    for now in (100.0, 159.0):
        back_off.let_down(now)
    assert back_off.ever
    assert back_off.holds(163.9)
    back_off.let_down(164.0 + 60.0)
    assert not back_off.holds(164.0 + 60.0), "a minute after the last wait"
    assert back_off.ever


def test_a_wait_may_be_longer_or_shorter_than_usual() -> None:
    """Two who were let down together need not return in step."""
    back_off = BackOff(Waits(first_s=5.0, longest_s=60.0, forgiven_s=60.0))
    back_off.let_down(100.0, factor=1.2)
    assert back_off.holds(105.9)
    assert not back_off.holds(106.0)
