"""Times of whole segments, which a sum of unit times is not: the second level of a profile.

Unit times pick the cuts worth measuring; these are measured as they run, head and tail, and planned with. What a
segment costs beyond its units (waking the machine, entering it, leaving it) shows in the measured ones, and is added
to all others but the two ends, whose profiles are of wholes already.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from common.partition.closed_sets import ClosedSets
from common.plan import Cut

Array = NDArray[np.float64]
Units = tuple[str, ...]


@dataclass(frozen=True)
class SegmentTimes:
    """Measured times in ms of heads, by the edge's units, and of tails, by the cloud's."""

    heads: Mapping[Units, float] = field(default_factory=dict)
    tails: Mapping[Units, float] = field(default_factory=dict)

    def with_cut(self, cut: Cut, head_ms: float | None, tail_ms: float | None) -> SegmentTimes:
        """Return these with what a cut's head and tail took; none leaves out what was not measured."""
        heads = self.heads if head_ms is None else {**self.heads, cut.edge_units: head_ms}
        tails = self.tails if tail_ms is None else {**self.tails, cut.cloud_units: tail_ms}
        return SegmentTimes(heads, tails)

    def of_cut(
        self, cut: Cut, edge_ms: Mapping[str, float], cloud_ms: Mapping[str, float]
    ) -> tuple[float, float]:
        """Return what the head and the tail of `cut` take, in ms: measured, or by unit times and what those lack."""
        return (
            _time(
                cut.edge_units,
                self.heads,
                edge_ms,
                is_segment=len(cut.edge_units) > 1 and bool(cut.cloud_units),
            ),
            _time(
                cut.cloud_units,
                self.tails,
                cloud_ms,
                is_segment=len(cut.edge_units) > 1 and bool(cut.cloud_units),
            ),
        )

    def of_sets(
        self, sets: ClosedSets, edge_ms: Mapping[str, float], cloud_ms: Mapping[str, float]
    ) -> tuple[Array, Array]:
        """Return the same for every set's cut."""
        edge, _, cloud = sets.costs(edge_ms, cloud_ms)
        counts = sets.members.sum(axis=1)
        split = (counts > 1) & (counts < len(sets.graph))
        edge = edge + np.where(split, _beyond(self.heads, edge_ms), 0.0)
        cloud = cloud + np.where(split, _beyond(self.tails, cloud_ms), 0.0)
        index = sets.graph.index
        for times, into, inside in ((self.heads, edge, True), (self.tails, cloud, False)):
            for units, ms in times.items():
                wanted = np.full(len(index), not inside)
                wanted[[index[name] for name in units]] = inside
                into[(sets.members == wanted).all(axis=1)] = ms
        return edge, cloud


def _time(
    units: Units, measured: Mapping[Units, float], unit_ms: Mapping[str, float], *, is_segment: bool
) -> float:
    if units in measured:
        return measured[units]
    total = sum(unit_ms[name] for name in units)
    return max(total + _beyond(measured, unit_ms), 0.0) if is_segment else total


def _beyond(measured: Mapping[Units, float], unit_ms: Mapping[str, float]) -> float:
    """Return what a segment takes beyond its units, in ms: the median of those that were measured."""
    found = [ms - sum(unit_ms[name] for name in units) for units, ms in measured.items()]
    return max(statistics.median(found), 0.0) if found else 0.0
