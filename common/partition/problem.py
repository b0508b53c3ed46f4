"""A planning problem as a value, and the check that every solver's answer has to pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from common.errors import PlanError
from common.graph import ModelGraph
from common.partition.closed_sets import enumerate_closed_sets
from common.partition.decide import Conditions, Costs
from common.partition.frontier import Frontier
from common.plan import Cut, Prediction

MOST_UNIT_MS = 1e12
"""A unit may take thirty years; beyond, sums lose the microseconds that plans are compared by."""
MOST_OUTPUT_BYTES = 2**53
"""Sizes are summed as floats, which hold whole numbers exactly up to here."""

PRECISION_MS = 1e-3
"""Two values this close are the same for a solver: 1 µs, far below what any measurement of a unit tells."""

Array = NDArray[np.float64]


def precision_ms(value_ms: float) -> float:
    """Return what `value_ms` is exact to: 1 µs, or the billionth part that floats leave of a large one."""
    return max(PRECISION_MS, 1e-9 * abs(value_ms))


@dataclass(frozen=True)
class PlanningProblem:
    """A graph with the time of each unit on either side, in ms.

    Raises `PlanError`, naming the culprit, for a unit without a time and for a time or size that is
    negative, not finite, or too large to be summed exactly.
    """

    graph: ModelGraph
    edge_ms: Mapping[str, float]
    cloud_ms: Mapping[str, float]

    def __post_init__(self) -> None:
        for field, times in (("edge_ms", self.edge_ms), ("cloud_ms", self.cloud_ms)):
            if unknown := set(times).difference(self.graph.index):
                raise PlanError(f"{field}: {min(unknown)!r} is no unit of this graph")
            for name in self.graph.names:
                if name not in times:
                    raise PlanError(f"unit {name!r} has no {field}")
                if not 0 <= times[name] <= MOST_UNIT_MS:  # false for nan, too
                    raise PlanError(
                        f"unit {name!r}: {field} is {times[name]!r}, not between 0 and {MOST_UNIT_MS:g}"
                    )
        for unit in self.graph.units:
            if not 0 <= unit.output_bytes <= MOST_OUTPUT_BYTES:
                raise PlanError(
                    f"unit {unit.name!r}: output_bytes is {unit.output_bytes!r}, "
                    f"not between 0 and {MOST_OUTPUT_BYTES}"
                )

    @cached_property
    def frontier(self) -> Frontier:
        """The frontier of all legal cuts. Raises `TooManyClosedSetsError` beyond the limit."""
        return Frontier.build(enumerate_closed_sets(self.graph), self.edge_ms, self.cloud_ms)

    def assess(self, edge_units: Iterable[str], conditions: Conditions) -> Assessment:
        """Compute a set's cut and times from the definition, whoever proposed the set.

        Raises `PlanError` for a set that is not closed, or without the source.
        """
        cut = Cut.of(self.graph, edge_units)
        costs = Costs.of(self.graph, cut, self.edge_ms, self.cloud_ms)
        return Assessment(cut, costs.predict(cut, conditions))

    def terms(self, conditions: Conditions) -> Terms:
        """Return what each unit adds to Te, Tt and Tc under `conditions`, in ms."""
        names = self.graph.names
        sizes = np.array([unit.output_bytes for unit in self.graph.units], dtype=np.float64)
        if conditions.bandwidth_bps > 0:
            link = sizes * (8000.0 / conditions.bandwidth_bps)
        else:
            link = np.full(len(names), np.inf)
        cloud = np.array([self.cloud_ms[name] for name in names]) * conditions.cloud_scale
        # The sink is in the cloud exactly when anything is, so what is paid once there is the sink's.
        cloud[self.graph.index[self.graph.sink]] += conditions.cloud_wait_ms
        return Terms(
            edge_ms=np.array([self.edge_ms[name] for name in names]) * conditions.edge_scale,
            link_ms=link,
            cloud_ms=cloud,
            extra_ms=conditions.rtt_ms + conditions.answer_ms,
        )


@dataclass(frozen=True, slots=True)
class Assessment:
    """A legal cut with its times."""

    cut: Cut
    prediction: Prediction

    @property
    def edge_units(self) -> frozenset[str]:
        return frozenset(self.cut.edge_units)


@dataclass(frozen=True, slots=True)
class Bounded:
    """A legal cut with its value in the objective solved for, and a proven lower bound on that value, in ms."""

    best: Assessment
    value_ms: float
    lower_bound_ms: float


@dataclass(frozen=True, slots=True)
class Terms:
    """Times of single units in ms, in the graph's order; `extra_ms` is paid once if the cloud is used.

    `link_ms` is infinite where the output cannot be sent at all. The wait for the cloud is in its sink's time.
    """

    edge_ms: Array
    link_ms: Array
    cloud_ms: Array
    extra_ms: float

    def by_stage(self) -> tuple[Array, Array, Array]:
        return self.edge_ms, self.link_ms, self.cloud_ms


@dataclass(frozen=True, slots=True)
class Links:
    """The links that decide, as pairs of indices (producer, consumer); the others follow from these.

    `closure`: the transitive reduction, for where `u → v → w` keeps `u` with `v` and `v` with `w`, a link
    `u → w` adds nothing. `sending`: from each unit to those of its readers that lead to no other reader of
    it; if any reader is in the cloud, so is one of these. Of the quadratically many links in densenet's
    blocks a linear number is left.
    """

    closure: tuple[tuple[int, int], ...]
    sending: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, graph: ModelGraph) -> Links:
        names = graph.names
        readers = [sorted(graph.index[name] for name in graph.successors[u]) for u in names]
        reached = [0] * len(names)  # a bit for each unit that this one leads to, itself included
        closure: list[tuple[int, int]] = []
        sending: list[tuple[int, int]] = []
        for u in range(len(names) - 1, -1, -1):
            beyond = 0
            for w in readers[u]:  # in topological order: what leads to w has been met
                if not beyond >> w & 1:
                    closure.append((u, w))
                beyond |= reached[w]
            all_readers = sum(1 << w for w in readers[u])
            sending += [(u, w) for w in readers[u] if reached[w] & all_readers == 1 << w]
            reached[u] = beyond | 1 << u
        return cls(tuple(closure), tuple(sending))
