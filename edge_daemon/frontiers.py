"""The frontiers that a decision looks its cuts up in, and what they are built from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import structlog

from common.graph import ModelGraph
from common.partition.closed_sets import (
    ClosedSets,
    TooManyClosedSetsError,
    closed_sets_in_order,
    enumerate_closed_sets,
)
from common.partition.codings import LOSSLESS, Codings
from common.partition.frontier import Frontier
from common.partition.segment_times import SegmentTimes
from common.profile import Profile
from common.wire.codecs import Loss

log = structlog.get_logger()

CHANGED = 0.05
"""Frontiers are built anew when frames, or what a codec makes of a tensor, have changed in size by this share."""


@dataclass(frozen=True, slots=True)
class Basis:
    """What frontiers are built from: both profiles, measured segments, the frames' size in bytes, and how many times
    longer than profiled a (unit, codec) makes a tensor now."""

    edge: Profile
    cloud: Profile
    segments: SegmentTimes
    frame_bytes: int
    grown: Mapping[tuple[str, str], float]

    def is_of(self, edge: Profile | None, cloud: Profile | None) -> bool:
        """Say whether these are the profiles."""
        return self.edge is edge and self.cloud is cloud

    def still_holds(self, now: Basis) -> bool:
        """Say whether nothing has changed by more than `CHANGED`."""
        return (
            self.is_of(now.edge, now.cloud)
            and self.segments is now.segments
            and _alike(self.frame_bytes, now.frame_bytes)
            and all(
                _alike(self.grown.get(key, 1.0), now.grown.get(key, 1.0)) for key in {*self.grown, *now.grown}
            )
        )


def _sets_to_plan_with(graph: ModelGraph) -> ClosedSets:
    """Return all closed sets; of a graph that has too many those along its own order, and say so."""
    try:
        return enumerate_closed_sets(graph)
    except TooManyClosedSetsError as error:
        sets = closed_sets_in_order(graph)
        log.warning(
            "the model can be cut in too many ways to look at all of them", reason=str(error), cuts=len(sets)
        )
        return sets


def _alike(before: float, now: float) -> bool:
    return abs(now / max(before, 1e-9) - 1.0) <= CHANGED


@dataclass(frozen=True, slots=True, eq=False)
class Frontiers:
    """What was built: the frontier of lossless cuts and, where losses may be allowed, that of all."""

    basis: Basis
    sets: ClosedSets
    codings: Codings
    lossless: Frontier
    lossy: Frontier | None

    @classmethod
    def build(
        cls, graph: ModelGraph, basis: Basis, losses: frozenset[Loss], sets: ClosedSets | None = None
    ) -> Frontiers:
        """Build from `basis`; `sets` are the graph's closed sets, if they are known. It may take a second."""
        sets = sets or _sets_to_plan_with(graph)
        sized = sets.graph.with_output_bytes({graph.source: basis.frame_bytes})
        sets = replace(sets, graph=sized)
        codings = Codings.of(sized, basis.edge, basis.cloud, lambda *key: basis.grown.get(key, 1.0))

        def frontier(allowed: frozenset[Loss]) -> Frontier:
            times = basis.edge.unit_ms, basis.cloud.unit_ms
            return Frontier.build(sets, *times, codings, allowed, basis.segments)

        lossy = frontier(LOSSLESS | losses) if losses - LOSSLESS else None
        return cls(basis, sets, codings, frontier(LOSSLESS), lossy)
