"""Facts about what runs apart from frames say of the edge's speed."""

from __future__ import annotations

import pytest

from edge_daemon.drift import FEWEST, STALE_S, Drift
from edge_daemon.samples import OFF_HOLDS_S, Samples


def add(samples: Samples, ratio: float, now: float) -> None:
    for _ in range(FEWEST):
        samples.add(ratio, ratio, 1.0, now)


def frames(ratio: float, now: float) -> Drift:
    """What the stages of frames told."""
    drift = Drift()
    for _ in range(FEWEST):
        drift.add("edge-only", ratio, 1.0, 1.0, now)
    return drift


def test_a_few_say_nothing_and_old_ones_neither() -> None:
    """As with the stages of frames."""
    samples = Samples()
    for _ in range(FEWEST - 1):
        samples.add(3.0, 3.0, 1.0, 0.0)
    assert samples.scale(0.0) is None
    samples.add(3.0, 3.0, 1.0, 0.0)
    assert samples.scale(0.0) == 3.0
    assert samples.scale(STALE_S + 1.0) is None


def test_cold_caches_are_forgiven_beside_what_is_planned_with() -> None:
    """Whatever the profile said that was planned with before."""
    samples = Samples()
    for _ in range(FEWEST):
        samples.add(0.5 * 1.2, 0.5 * 0.9, 0.5, 0.0)
    assert samples.scale(0.0) == 1.0


def test_what_frames_say_in_the_same_minute_corrects_them_for_a_while() -> None:
    """It may be the device that changed in that minute: then nothing else would ever put it right."""
    samples = Samples()
    add(samples, 0.6, 0.0)
    samples.compare(frames(1.2, 0.0), 0.0)
    assert samples.scale(0.0) == pytest.approx(1.2)
    for at, scale in ((OFF_HOLDS_S, 1.2), (OFF_HOLDS_S + 1.0, 0.6)):
        add(samples, 0.6, at)
        assert samples.scale(at) == pytest.approx(scale)


def test_frames_of_another_minute_correct_nothing() -> None:
    """And what was told of another profile is forgotten with it."""
    samples = Samples()
    add(samples, 0.6, 0.0)
    samples.compare(Drift(), 0.0)
    assert samples.scale(0.0) == pytest.approx(0.6)
    samples.compare(frames(1.2, 0.0), 0.0)
    samples.forget()
    assert samples.scale(0.0) is None
    add(samples, 0.6, 1.0)
    assert samples.scale(1.0) == pytest.approx(0.6)
