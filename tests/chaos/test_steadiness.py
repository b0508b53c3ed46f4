"""Facts about what is called steady: leaks are found among noise, spikes and steps are not taken for leaks."""

from __future__ import annotations

import random

import pytest

from tests.chaos.steadiness import (
    drift,
    percentile,
    slope_of,
    thirds,
    untouched,
    warm_up_s,
    window_medians,
)


def noisy(per_hour: float, seed: int, spikes: bool = False) -> list[tuple[float, float]]:
    """A sample each two seconds for 25 minutes, ±0.5 and now and then 50 too much."""
    rng = random.Random(seed)
    return [
        (
            at,
            200.0
            + per_hour * at / 3600
            + rng.uniform(-0.5, 0.5)
            + (50.0 if spikes and rng.random() < 0.1 else 0.0),
        )
        for at in map(float, range(0, 1500, 2))
    ]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("per_hour", [0.0, 1.0, 10.0])
def test_the_slope_is_found_among_noise_and_spikes(per_hour: float, seed: int) -> None:
    """To within half of what is allowed an hour, and its interval holds the true one or nearly so."""
    for spikes in (False, True):
        found = slope_of(noisy(per_hour, seed, spikes), 60.0)
        assert found is not None
        assert found.per_hour == pytest.approx(per_hour, abs=0.5)
        assert found.low - 0.5 <= per_hour <= found.high + 0.5
        assert found.low <= found.per_hour <= found.high


def test_one_step_early_in_a_run_is_no_slope() -> None:
    """A buffer that was made bigger once, and stays so."""
    stepped = [(at, value + (5.0 if at > 120 else 0.0)) for at, value in noisy(0.0, 1)]
    found = slope_of(stepped, 60.0)
    assert found is not None
    assert abs(found.per_hour) < 0.5


def test_too_few_windows_tell_no_slope() -> None:
    assert slope_of([(0.0, 1.0), (60.0, 2.0), (120.0, 3.0), (180.0, 4.0)], 60.0) is None


def test_windows_have_the_median_of_what_is_in_them() -> None:
    samples = [(0.0, 1.0), (1.0, 9.0), (2.0, 2.0), (25.0, 5.0)]
    assert window_medians(samples, 10.0) == [(5.0, 2.0), (25.0, 5.0)]


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(n) for n in range(1, 101)]
    assert percentile(values, 0.99) == 99.0
    assert percentile(values, 0.5) == 50.0
    assert percentile(values, 1.0) == 100.0
    assert percentile([7.0], 0.99) == 7.0


def test_drift_compares_the_first_with_the_last_third_of_the_time() -> None:
    samples = [(float(at), 10.0 if at < 150 else 12.0) for at in range(300)]
    first, last = thirds(samples)
    assert (len(first), len(last)) == (100, 100)
    assert drift(first, last) == pytest.approx(0.2)
    assert drift(last, first) == pytest.approx(-1 / 6)
    assert drift([], last) is None
    assert thirds([]) == ([], [])


def test_what_overlaps_a_fault_is_touched_by_it() -> None:
    spans = [(10.0, 20.0), (30.0, 31.0)]
    assert untouched(0.0, 9.0, spans)
    assert untouched(21.0, 29.0, spans)
    assert not untouched(9.0, 11.0, spans)
    assert not untouched(5.0, 40.0, spans)
    assert not untouched(12.0, 13.0, spans)


def test_the_warm_up_is_a_quarter_and_five_minutes_at_most() -> None:
    assert warm_up_s(120.0) == 30.0
    assert warm_up_s(1800.0) == 300.0
