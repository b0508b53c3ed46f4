"""Whether something stays as it is: slopes, percentiles and their drift. Pure: numbers in, numbers out.

Memory is looked at as Theil and Sen do: the slope is the median of the slopes between all pairs of points, and
the points are the medians of windows. A spike moves one window's median little and the median of all slopes hardly
at all; a step that stays moves it by its share of the pairs, and a leak by itself.
Source: P. K. Sen, Estimates of the regression coefficient based on Kendall's tau, JASA 63 (1968).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scipy.stats import theilslopes

CONFIDENCE = 0.95
FEWEST_WINDOWS = 5
"""A slope of fewer medians says nothing."""
LONGEST_WARM_UP_S = 300.0

Sample = tuple[float, float]
"""When, in seconds, and a value."""
Span = tuple[float, float]
"""From when until when."""


@dataclass(frozen=True, slots=True)
class Slope:
    """A slope per hour with the interval that holds the true one in 95 of 100 cases, if windows err independently."""

    per_hour: float
    low: float
    high: float


def warm_up_s(length_s: float) -> float:
    """Return how much of a run counts as its beginning: a quarter, five minutes at most.

    Profiles, certificates and segments are made then; buffers, caches and thread pools reach their size.
    """
    return min(length_s / 4, LONGEST_WARM_UP_S)


def window_medians(samples: Iterable[Sample], window_s: float) -> list[Sample]:
    """Return the median of each window that has samples, at the middle of the window."""
    windows: dict[int, list[float]] = {}
    for at, value in samples:
        windows.setdefault(int(at // window_s), []).append(value)
    return [
        ((number + 0.5) * window_s, statistics.median(values)) for number, values in sorted(windows.items())
    ]


def slope_of(samples: Iterable[Sample], window_s: float) -> Slope | None:
    """Return the Theil–Sen slope over the medians of windows, per hour; none of too few."""
    medians = window_medians(samples, window_s)
    if len(medians) < FEWEST_WINDOWS:
        return None
    told = theilslopes([value for _, value in medians], [at / 3600.0 for at, _ in medians], CONFIDENCE)
    return Slope(float(told.slope), float(told.low_slope), float(told.high_slope))


def percentile(values: Sequence[float], share: float) -> float:
    """Return the least of `values` that at least `share` of them do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered) - 1e-9) - 1, 0)]


def thirds(samples: Sequence[Sample]) -> tuple[list[float], list[float]]:
    """Return the values of the first and of the last third of the time that `samples` span."""
    if not samples:
        return [], []
    begin, end = min(at for at, _ in samples), max(at for at, _ in samples)
    third = (end - begin) / 3
    return (
        [value for at, value in samples if at <= begin + third],
        [value for at, value in samples if at >= end - third],
    )


def drift(first: Sequence[float], last: Sequence[float], share: float = 0.99) -> float | None:
    """Return by how much a percentile has grown from the first to the last values: 0.1 is a tenth."""
    if not first or not last:
        return None
    return percentile(last, share) / percentile(first, share) - 1.0


def untouched(begun: float, ended: float, spans: Iterable[Span]) -> bool:
    """Say whether something that lasted from `begun` to `ended` met none of `spans`."""
    return all(ended < start or begun > end for start, end in spans)
