"""Facts about rates: they are of whole seconds, lately."""

from __future__ import annotations

import pytest

from common.rate import WINDOW_S, Rate


def test_a_steady_rate_is_told_exactly() -> None:
    """Whatever part of the present second has passed."""
    rate = Rate(0.0)
    for number in range(300):
        rate.note(number / 20)
    for now in (15.0, 15.3, 15.9):
        assert rate.per_second(now) == pytest.approx(20.0)


def test_it_falls_to_nothing_within_the_window() -> None:
    """What was long ago does not count."""
    rate = Rate(0.0)
    for number in range(100):
        rate.note(number / 20)
    assert 0 < rate.per_second(9.0) < 20
    assert rate.per_second(5.0 + WINDOW_S) == 0.0


def test_a_young_rate_is_of_its_own_time() -> None:
    """Two seconds after the beginning it is not divided by ten."""
    rate = Rate(100.5)
    assert rate.per_second(100.9) == 0.0
    for number in range(40):
        rate.note(101 + number / 20)
    assert rate.per_second(103.2) == pytest.approx(20.0)
