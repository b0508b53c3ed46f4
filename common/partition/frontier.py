"""The legal cuts that no other one dominates: ParetoPipe's front, for every link at once.

The frontier depends on the model and the two profiles only. Any bandwidth, frame rate, slow edge or busy
cloud (a positive factor on one side's times) picks its optimum from it, so that each decision is one
vectorised, exact look-up. Source: planning.md §2; ParetoPipe (arXiv 2601.08025).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from common.partition.closed_sets import ClosedSets
from common.partition.codings import LOSSLESS, Codings, Option, assign
from common.partition.segment_times import SegmentTimes
from common.plan import Cut
from common.wire.codecs import RAW, Loss

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Frontier:
    """Non-dominated cuts, one entry each: time on the edge (ms), bytes up, time in the cloud (ms)."""

    sets: ClosedSets
    rows: NDArray[np.intp]
    codecs: tuple[tuple[str, ...], ...]
    edge_ms: Array
    payload_bytes: Array
    cloud_ms: Array

    @classmethod
    def build(
        cls,
        sets: ClosedSets,
        edge_ms: Mapping[str, float],
        cloud_ms: Mapping[str, float],
        codings: Codings | None = None,
        losses: frozenset[Loss] = LOSSLESS,
        segments: SegmentTimes | None = None,
    ) -> Frontier:
        """Build the frontier from unit times in ms. Edge-only is always on it: it alone needs no link.

        With `codings` there is an entry for each worthwhile choice of codecs that lose no more than `losses` names;
        without, everything is sent raw. With `segments`, what was measured of whole segments counts.
        """
        edge, size, cloud = sets.costs(edge_ms, cloud_ms)
        if segments is not None:
            edge, cloud = segments.of_sets(sets, edge_ms, cloud_ms)
        rows = np.arange(len(sets), dtype=np.intp)
        codecs: list[tuple[str, ...]] = [()] * len(sets)
        if codings is not None:
            found = [assign(options, non_dominated) for options in _options(sets, codings, losses)]
            counts = [len(assignments.codecs) for assignments in found]
            rows = np.repeat(rows, counts)
            codecs = [one for assignments in found for one in assignments.codecs]
            edge = np.repeat(edge, counts) + np.concatenate([a.encode_ms for a in found])
            size = np.concatenate([a.payload_bytes for a in found])
            cloud = np.repeat(cloud, counts) + np.concatenate([a.decode_ms for a in found])
        keep = non_dominated(edge, size, cloud)
        keep[rows == sets.edge_only] = True
        kept = np.flatnonzero(keep)
        return cls(sets, rows[kept], tuple(codecs[i] for i in kept), edge[kept], size[kept], cloud[kept])

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def edge_only(self) -> NDArray[np.bool_]:
        """Which entry is the cut that leaves nothing to the cloud."""
        return np.equal(self.rows, self.sets.edge_only)

    def cut(self, entry: int) -> Cut:
        cut = self.sets.cut(int(self.rows[entry]))
        chosen = dict(zip(cut.crossing, self.codecs[entry], strict=False))
        return Cut.of(self.sets.graph, cut.edge_units, chosen)

    def find(self, cut: Cut) -> int | None:
        """Return the entry of `cut`, if it is on the frontier."""
        codecs = cut.codecs or (RAW,) * len(cut.crossing)
        for entry in np.flatnonzero(self.sets.rows_of(cut.edge_units)[self.rows]):
            if (self.codecs[entry] or codecs) == codecs:
                return int(entry)
        return None

    def only(self, entries: Sequence[int]) -> Frontier:
        """Return these entries alone."""
        kept = np.array(entries, dtype=np.intp)
        return replace(
            self,
            rows=self.rows[kept],
            codecs=tuple(self.codecs[i] for i in kept),
            edge_ms=self.edge_ms[kept],
            payload_bytes=self.payload_bytes[kept],
            cloud_ms=self.cloud_ms[kept],
        )

    def joined(self, other: Frontier) -> Frontier:
        """Return the entries of both, which must be of the same sets."""
        return replace(
            self,
            rows=np.concatenate((self.rows, other.rows)),
            codecs=(*self.codecs, *other.codecs),
            edge_ms=np.concatenate((self.edge_ms, other.edge_ms)),
            payload_bytes=np.concatenate((self.payload_bytes, other.payload_bytes)),
            cloud_ms=np.concatenate((self.cloud_ms, other.cloud_ms)),
        )


def _options(
    sets: ClosedSets, codings: Codings, losses: frozenset[Loss]
) -> Iterator[tuple[tuple[Option, ...], ...]]:
    """Yield the worthwhile options of each set's crossing tensors."""
    names = sets.graph.names
    by_unit = [codings.worthwhile(name, losses) for name in names]
    for crossing in sets.crossing:
        yield tuple(by_unit[u] for u in np.flatnonzero(crossing))


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
