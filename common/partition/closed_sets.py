"""All legal cuts of a graph, enumerated once for a model.

Sources: Picard 1976 (closures); Tarnawski et al., NeurIPS 2020 (planning over ideals).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from common import limits
from common.errors import PlanError
from common.graph import ModelGraph
from common.plan import Cut


class TooManyClosedSetsError(PlanError):
    """The graph has more closed sets than were asked for."""


@dataclass(frozen=True, eq=False)
class ClosedSets:
    """The closed sets of `graph` that hold its source, one row each.

    `members[r, u]`: unit `u` is in set `r`. `crossing[r, u]`: it is, and some unit that reads it is not.
    """

    graph: ModelGraph
    members: NDArray[np.bool_]
    crossing: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.members)

    @cached_property
    def edge_only(self) -> int:
        """Row of the set of all units."""
        return int(np.flatnonzero(self.members.all(axis=1))[0])

    def rows_of(self, units: Iterable[str]) -> NDArray[np.bool_]:
        """Mark the rows that are the set of these units: one, or none."""
        wanted = np.zeros(len(self.graph), dtype=np.bool_)
        wanted[[self.graph.index[name] for name in units]] = True
        found: NDArray[np.bool_] = (self.members == wanted).all(axis=1)
        return found

    def cut(self, row: int) -> Cut:
        names = self.graph.names
        return Cut.of(self.graph, [names[u] for u in np.flatnonzero(self.members[row])])

    def costs(
        self, edge_ms: Mapping[str, float], cloud_ms: Mapping[str, float]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return, for every row: time on the edge (ms), bytes up, time in the cloud (ms)."""
        names = self.graph.names
        edge = np.array([edge_ms[name] for name in names], dtype=np.float64)
        cloud = np.array([cloud_ms[name] for name in names], dtype=np.float64)
        sizes = np.array([unit.output_bytes for unit in self.graph.units], dtype=np.float64)
        # In blocks of rows: a product converts its matrix to floats, eight times its size.
        blocks = [slice(row, row + 4096) for row in range(0, len(self), 4096)]
        return (
            np.concatenate([self.members[rows] @ edge for rows in blocks]),
            np.concatenate([self.crossing[rows] @ sizes for rows in blocks]),
            np.concatenate([~self.members[rows] @ cloud for rows in blocks]),
        )


def enumerate_closed_sets(graph: ModelGraph, limit: int = limits.MAX_CLOSED_SETS) -> ClosedSets:
    """Enumerate the closed sets of `graph` that hold the source.

    Each set is grown by one unit whose inputs it holds already; sets and the units ready to join are bit
    masks. Time is proportional to the number of sets times their ready units. A graph so wide that a look at
    its levels shows too many sets is refused at once, any other one as soon as the limit is passed.

    Raises `TooManyClosedSetsError` when there are more than `limit`.
    """
    if closed_sets_at_least(graph) > limit:
        raise _too_many(graph, limit)
    parents = [sum(1 << graph.index[name] for name in set(unit.inputs)) for unit in graph.units]
    children = [[graph.index[name] for name in graph.successors[unit.name]] for unit in graph.units]
    first = 1 << graph.index[graph.source]
    ready_first = sum(1 << w for w in children[graph.index[graph.source]] if parents[w] == first)
    found = {first: ready_first}
    pending = [first]
    while pending:
        members = pending.pop()
        ready = rest = found[members]
        while rest:
            bit = rest & -rest
            rest ^= bit
            grown = members | bit
            if grown in found:
                continue
            if len(found) == limit:
                raise _too_many(graph, limit)
            joined = ready ^ bit
            for w in children[bit.bit_length() - 1]:
                if parents[w] & ~grown == 0:
                    joined |= 1 << w
            found[grown] = joined
            pending.append(grown)
    return _as_arrays(graph, sorted(found, key=lambda mask: (mask.bit_count(), mask)))


def closed_sets_in_order(graph: ModelGraph) -> ClosedSets:
    """Return the closed sets that the graph's own order of units leads through: the first unit, the first two, …

    As many as there are units. Each is closed, since every unit stands behind those it reads from.
    """
    return _as_arrays(graph, [(1 << count) - 1 for count in range(1, len(graph) + 1)])


def closed_sets_at_least(graph: ModelGraph) -> int:
    """Count some of the closed sets: a level's subsets, each with all of the levels before it.

    A unit's level is the longest way to it; no unit leads to another one of its level.
    """
    level: dict[str, int] = {}
    width: dict[int, int] = {}
    for unit in graph.units:
        level[unit.name] = 1 + max((level[name] for name in unit.inputs), default=-1)
        width[level[unit.name]] = width.get(level[unit.name], 0) + 1
    return sum(2**units - 1 for units in width.values())


def _too_many(graph: ModelGraph, limit: int) -> TooManyClosedSetsError:
    return TooManyClosedSetsError(f"{len(graph)} units have more than {limit} closed sets")


def _as_arrays(graph: ModelGraph, masks: list[int]) -> ClosedSets:
    count, width = len(masks), (len(graph) + 7) // 8
    packed = np.frombuffer(b"".join(mask.to_bytes(width, "little") for mask in masks), dtype=np.uint8)
    bits = np.unpackbits(packed.reshape(count, width), axis=1, count=len(graph), bitorder="little")
    members = bits.astype(np.bool_)
    outside = ~members
    crossing = np.zeros_like(members)
    for u, unit in enumerate(graph.units):
        for name in graph.successors[unit.name]:
            crossing[:, u] |= outside[:, graph.index[name]]
    crossing &= members
    return ClosedSets(graph, members, crossing)
