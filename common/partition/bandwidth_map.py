"""The best cut as a function of the bandwidth: intervals with exact boundaries.

With t = 1/B, a cut's latency is a line a + s·t: a = Te + Tc (+ round trip and answer), s = bytes sent. The
least latency is the lower envelope of these lines, concave and piecewise linear, and its breakpoints are
found exactly from as many solutions as it has lines (Eisner and Severance, JACM 23(4), 1976). So it needs no
list of all cuts. The least bottleneck, max(Te, Tc, s·t), is an envelope too, but not of lines: it is read off
the frontier.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from common.partition.closed_sets import TooManyClosedSetsError
from common.partition.decide import Conditions
from common.partition.problem import Assessment, PlanningProblem
from common.partition.solve import LOWEST_RATE_FPS, Solver, solve
from common.plan import Cut, Prediction

_MS_BIT_PER_BYTE = 8000.0
"""Milliseconds that one byte takes at 1 bit/s."""


@dataclass(frozen=True, slots=True)
class Interval:
    """The bandwidths (bit/s) at which one cut is the best, and its times at either end."""

    low_bps: float
    high_bps: float
    cut: Cut
    at_low: Prediction
    at_high: Prediction


@dataclass(frozen=True, slots=True)
class _Line:
    """A cut with its cost: `fixed_ms` + `payload_bytes` · (ms for a byte)."""

    cut: Cut
    fixed_ms: float
    payload_bytes: int

    def at(self, ms_per_byte: float) -> float:
        return self.fixed_ms + self.payload_bytes * ms_per_byte

    def same_as(self, other: _Line) -> bool:
        close = abs(self.fixed_ms - other.fixed_ms) <= _tolerance(self.fixed_ms)
        return self.payload_bytes == other.payload_bytes and close


def _tolerance(value_ms: float) -> float:
    """What two latencies may differ by and be the same: the precision of the minimum cut."""
    return max(1e-6, 1e-9 * abs(value_ms))


def least_latency_map(
    problem: PlanningProblem, low_bps: float, high_bps: float, rtt_ms: float = 0.0, answer_ms: float = 0.0
) -> tuple[Interval, ...]:
    """Return the intervals of the least latency from `low_bps` (above 0) to `high_bps`, in ascending order."""
    try:
        _ = problem.frontier
        solver = Solver.FRONTIER
    except TooManyClosedSetsError:
        solver = Solver.MINCUT

    def conditions_at(bandwidth_bps: float) -> Conditions:
        return Conditions(
            bandwidth_bps=bandwidth_bps, rtt_ms=rtt_ms, answer_ms=answer_ms, rate_fps=LOWEST_RATE_FPS
        )

    def best_at(ms_per_byte: float) -> _Line:
        best = solve(problem, conditions_at(_MS_BIT_PER_BYTE / ms_per_byte), solver)
        times = best.prediction
        payload_bytes = sum(problem.graph[name].output_bytes for name in best.cut.crossing)
        return _Line(best.cut, times.latency_ms - times.link_ms, payload_bytes)

    pieces = _envelope(best_at, _MS_BIT_PER_BYTE / high_bps, _MS_BIT_PER_BYTE / low_bps)
    return _intervals(problem, conditions_at, pieces, low_bps, high_bps)


def _envelope(best_at: Callable[[float], _Line], low: float, high: float) -> list[tuple[float, _Line]]:
    """Return the lines of the lower envelope on [low, high], each with where it ends, in ascending order."""
    found: list[tuple[float, _Line]] = []
    pending = [(low, best_at(low), high, best_at(high))]
    while pending:
        left, first, right, last = pending.pop()
        if first.same_as(last) or first.payload_bytes <= last.payload_bytes:
            found.append((right, last))
            continue
        # The steeper line is the lower one at its left; where they meet, a third one may pass below.
        meet = (last.fixed_ms - first.fixed_ms) / (first.payload_bytes - last.payload_bytes)
        meet = min(max(meet, left), right)
        between = best_at(meet)
        value_ms = first.at(meet)
        if between.at(meet) >= value_ms - _tolerance(value_ms):
            found += [(meet, first), (right, last)]
        else:
            pending += [(meet, between, right, last), (left, first, meet, between)]
    return found


def least_bottleneck_map(problem: PlanningProblem, low_bps: float, high_bps: float) -> tuple[Interval, ...]:
    """Return the intervals of the least bottleneck from `low_bps` to `high_bps`, in ascending order.

    Of cuts with the same bottleneck the one of least Te and Tc is named. Raises `TooManyClosedSetsError`
    where there is no frontier.
    """
    frontier = problem.frontier
    compute_ms = np.maximum(frontier.edge_ms, frontier.cloud_ms)
    payload_bytes = np.where(frontier.edge_only, 0.0, frontier.payload_bytes)
    total_ms = frontier.edge_ms + frontier.cloud_ms
    kept: list[int] = []
    for entry in np.lexsort((total_ms, payload_bytes, compute_ms)):
        if not kept or payload_bytes[entry] < payload_bytes[kept[-1]]:
            kept.append(int(entry))
    first, last = _MS_BIT_PER_BYTE / high_bps, _MS_BIT_PER_BYTE / low_bps
    pieces: list[tuple[float, _Line]] = []
    # Ascending in compute time and descending in bytes: each is best until its transfer takes as long as
    # the next one computes.
    for entry, following in zip(kept, [*kept[1:], None], strict=True):
        until = last if following is None else min(float(compute_ms[following] / payload_bytes[entry]), last)
        if until > first and (not pieces or until > pieces[-1][0]):
            pieces.append((until, _Line(frontier.cut(entry), 0.0, 0)))
        if until >= last:
            break
    return _intervals(problem, lambda bps: Conditions(bandwidth_bps=bps), pieces, low_bps, high_bps)


def _intervals(
    problem: PlanningProblem,
    conditions_at: Callable[[float], Conditions],
    pieces: list[tuple[float, _Line]],
    low_bps: float,
    high_bps: float,
) -> tuple[Interval, ...]:
    """Turn pieces, ascending in ms per byte, into intervals ascending in bandwidth; join those of one cut."""
    joined: list[tuple[float, Cut]] = []
    for until, line in pieces:
        if joined and joined[-1][1] == line.cut:
            joined.pop()
        joined.append((until, line.cut))
    found: list[Interval] = []
    high = high_bps
    for place, (until, cut) in enumerate(joined):
        low = low_bps if place == len(joined) - 1 else _MS_BIT_PER_BYTE / until

        def assess(bandwidth_bps: float, cut: Cut = cut) -> Assessment:
            return problem.assess(cut.edge_units, conditions_at(bandwidth_bps))

        found.append(Interval(low, high, cut, assess(low).prediction, assess(high).prediction))
        high = low
    return tuple(reversed(found))
