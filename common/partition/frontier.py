"""The legal cuts that no other one dominates: ParetoPipe's front, for every link at once.

The frontier depends on the model and the two profiles only. Any bandwidth, frame rate, slow edge or busy
cloud (a positive factor on one side's times) picks its optimum from it, so that each decision is one
vectorised, exact look-up. Source: planning.md §2; ParetoPipe (arXiv 2601.08025).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.partition.closed_sets import ClosedSets
from common.plan import Cut

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Frontier:
    """Non-dominated cuts, one entry each: time on the edge (ms), bytes up, time in the cloud (ms)."""

    sets: ClosedSets
    rows: NDArray[np.intp]
    edge_ms: Array
    payload_bytes: Array
    cloud_ms: Array

    @classmethod
    def build(cls, sets: ClosedSets, edge_ms: Mapping[str, float], cloud_ms: Mapping[str, float]) -> Frontier:
        """Build the frontier from unit times in ms. Edge-only is always on it: it alone needs no link."""
        edge, size, cloud = sets.costs(edge_ms, cloud_ms)
        keep = non_dominated(edge, size, cloud)
        keep[sets.edge_only] = True
        rows = np.flatnonzero(keep)
        return cls(sets, rows, edge[rows], size[rows], cloud[rows])

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def edge_only(self) -> NDArray[np.bool_]:
        """Which entry is the cut that leaves nothing to the cloud."""
        return np.equal(self.rows, self.sets.edge_only)

    def cut(self, entry: int) -> Cut:
        return self.sets.cut(int(self.rows[entry]))


def non_dominated(edge: Array, size: Array, cloud: Array) -> NDArray[np.bool_]:
    """Mark the points that no other one equals or beats in all three; of equal points the first is kept.

    A sweep by edge time over a staircase of (size, cloud): O(n log n).
    """
    keep = np.zeros(len(edge), dtype=np.bool_)
    sizes: list[float] = []  # ascending, and
    clouds: list[float] = []  # strictly descending beside it
    for i in np.lexsort((cloud, size, edge)):
        at = bisect_right(sizes, size[i])
        if at and clouds[at - 1] <= cloud[i]:
            continue
        keep[i] = True
        at = bisect_left(sizes, size[i])
        end = at
        while end < len(sizes) and clouds[end] >= cloud[i]:
            end += 1
        sizes[at:end] = [float(size[i])]
        clouds[at:end] = [float(cloud[i])]
    return keep
