"""Facts about drift: what real stages say of a device, and when they say nothing."""

from __future__ import annotations

import pytest

from edge_daemon.drift import FEWEST, RECENT, STALE_S, Drift


def drift(*ratios: float, at: float = 100.0) -> Drift:
    """A device whose stages of 50 ms, half its profile, took so many times as long."""
    device = Drift()
    for ratio in ratios:
        device.add("a cut", 50.0 * ratio, 50.0, 100.0, at)
    return device


def test_the_scale_is_the_median_of_recent_stages() -> None:
    """One hiccup does not move it, a lasting change does, and old stages drop out."""
    assert drift(1.0, 1.0, 9.0, 1.0, 1.0).scale(100.0) == 1.0
    assert drift(*[1.0] * 40, *[1.5] * RECENT).scale(100.0) == pytest.approx(1.5)
    assert drift(*[0.7] * FEWEST).scale(100.0) == pytest.approx(0.7)


def test_few_stages_say_nothing() -> None:
    """Until there are enough, the profile holds."""
    assert Drift().scale(0.0) == 1.0
    assert drift(*[3.0] * (FEWEST - 1)).scale(100.0) == 1.0


@pytest.mark.parametrize(("measured_ms", "profiled_ms"), [(30.0, 10.0), (5.0, 0.0), (0.0, 50.0)])
def test_short_stages_say_nothing(measured_ms: float, profiled_ms: float) -> None:
    """A stage below a fifth of the profile, or none at all, is no measure of the device."""
    device = Drift()
    for _ in range(RECENT):
        device.add("a cut", measured_ms, profiled_ms, 100.0, 100.0)
    assert device.scale(100.0) == 1.0


def test_old_news_is_no_news() -> None:
    """A device that has run nothing for a while is as profiled; what it did before does not count again."""
    device = drift(*[2.0] * RECENT)
    assert device.scale(100.0 + STALE_S) == 2.0
    assert device.scale(100.1 + STALE_S) == 1.0
    device.add("a cut", 50.0, 50.0, 100.0, 100.1 + STALE_S)
    assert device.scale(100.1 + STALE_S) == 1.0
    for _ in range(FEWEST - 1):
        device.add("a cut", 65.0, 50.0, 100.0, 101.0 + STALE_S)
    assert device.scale(101.0 + STALE_S) == pytest.approx(1.3)


def test_a_cut_whose_profile_is_wrong_does_not_move_the_plan_to_and_fro() -> None:
    """After frames under both, the scale is the same whichever of them runs."""
    device = drift(*[1.3] * RECENT)
    assert device.scale(100.0) == pytest.approx(1.3)
    for _ in range(RECENT):
        device.add("another cut", 50.0, 50.0, 100.0, 101.0)
    assert device.scale(101.0) == pytest.approx(1.15)
    for _ in range(RECENT):
        device.add("a cut", 65.0, 50.0, 100.0, 102.0)
    assert device.scale(102.0) == pytest.approx(1.15)


@pytest.mark.parametrize(("measured_ms", "whole_ms"), [(5e-324, 100.0), (1e308, 100.0), (50.0, 1e-310)])
def test_absurd_times_make_no_absurd_scale(measured_ms: float, whole_ms: float) -> None:
    """What a cloud says of itself may be anything; the scale stays a number to plan with."""
    device = Drift()
    for _ in range(RECENT):
        device.add("a cut", measured_ms, whole_ms / 2, whole_ms, 100.0)
    assert 0.01 <= device.scale(100.0) <= 100.0


def test_a_new_profile_begins_anew() -> None:
    """Ratios to an old profile are forgotten with it."""
    device = drift(*[2.0] * RECENT)
    device.forget()
    assert device.scale(100.0) == 1.0
