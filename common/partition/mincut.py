"""The least latency of any graph as a minimum cut (DADS's DSL, corrected).

              tc_v                     te_v
        e ───────────► v ◄── ∞ ──┐ ──────────► c        side of e: the edge; side of c: the cloud
                       │         │
                  d_v/B▼         │ closure: w on the edge keeps v there
                       v' ── ∞ ─► w  (for each w that reads v)

Source: DADS (Hu, Bao, Wang, Liu, INFOCOM 2019), section IV-B. Corrected in three places (planning.md §3): the
arcs `w → v` keep the set closed, an infinite arc pins the source, and the sink pays round trip and answer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from common.partition.decide import Conditions
from common.partition.problem import Assessment, Bounded, Links, PlanningProblem, Terms

_FULL_SCALE = 2**29
"""Integer that a known cut's value becomes. `_INFINITE` and its reverse then sum to less than int32 holds."""
_INFINITE = 2**30 - 1
_ROUNDS = 4
_EDGE, _CLOUD = 0, 1


def least_latency(problem: PlanningProblem, conditions: Conditions) -> Bounded:
    """Find the cut of least latency, exactly: the bound meets the value to 1 ns, or 1e-12 of it.

    scipy's flows are int32. Capacities are rounded *down* to a quantum that lets a known cut fill 2²⁹ of
    them (nothing dearer can be in a minimum cut, so nothing overflows): 1 s gives a quantum of 2 ns. Rounded
    down, the flow proves a lower bound of the real problem. What is left of the real capacities is then
    solved again with a quantum as much finer as the remaining gap is smaller; two rounds do in practice.

    Of tied cuts only the one with the fewest and the one with the most edge units are seen; of these the one
    of less bottleneck is returned.
    """
    whole = problem.assess(problem.graph.names, conditions)
    all_cloud = problem.assess([problem.graph.source], conditions)
    best = min(whole, all_cloud, key=_by_latency)
    if len(problem.graph) == 1 or conditions.bandwidth_bps == 0 or best.prediction.latency_ms == 0:
        return Bounded(best, best.prediction.latency_ms, best.prediction.latency_ms)
    network = _Network.of(problem, problem.terms(conditions), best.prediction.latency_ms)
    flow_ms = 0.0
    target_ms = max(1e-6, 1e-12 * best.prediction.latency_ms)
    for _ in range(_ROUNDS):
        gap_ms = best.prediction.latency_ms - flow_ms
        if gap_ms <= target_ms:
            break
        network, pushed_ms, sets = network.push(gap_ms)
        flow_ms += pushed_ms
        names = problem.graph.names
        found = [problem.assess((names[u] for u in np.flatnonzero(s)), conditions) for s in sets]
        best = min(best, *found, key=lambda cut: _rounded(cut, target_ms))
    value_ms = best.prediction.latency_ms
    return Bounded(best, value_ms, min(flow_ms, value_ms))


def _by_latency(cut: Assessment) -> tuple[float, float]:
    return cut.prediction.latency_ms, cut.prediction.bottleneck_ms


def _rounded(cut: Assessment, quantum_ms: float) -> tuple[float, float, float]:
    """Order by latency, where ties to the quantum go by bottleneck."""
    latency_ms, bottleneck_ms = _by_latency(cut)
    return round(latency_ms / quantum_ms), bottleneck_ms, latency_ms


@dataclass(frozen=True, slots=True, eq=False)
class _Network:
    """Arcs with what is left of their capacities in ms, each beside its reverse; units at vertices 2, 3, …"""

    units: int
    vertices: int
    tails: NDArray[np.int64]
    heads: NDArray[np.int64]
    left_ms: NDArray[np.float64]

    @classmethod
    def of(cls, problem: PlanningProblem, terms: Terms, known_ms: float) -> _Network:
        """Lay the network out; `known_ms` is the value of some cut."""
        graph = problem.graph
        links = Links.of(graph)
        count = len(graph)
        source, sink = graph.index[graph.source], graph.index[graph.sink]
        arcs: list[tuple[int, int, float]] = []
        for v in range(count):
            in_cloud = float(terms.cloud_ms[v]) + (terms.extra_ms if v == sink else 0.0)
            arcs.append((_EDGE, 2 + v, np.inf if v == source else in_cloud))
            arcs.append((2 + v, _CLOUD, float(terms.edge_ms[v])))
        copies: dict[int, int] = {}
        for v, w in links.sending:
            if v not in copies:
                copies[v] = 2 + count + len(copies)
                arcs.append((2 + v, copies[v], float(terms.link_ms[v])))
            arcs.append((copies[v], 2 + w, np.inf))
        arcs += [(2 + w, 2 + v, np.inf) for v, w in links.closure]
        tails, heads, capacities = (np.array(column) for column in zip(*arcs, strict=True))
        # An arc dearer than a known cut is in no minimum cut: it may as well be infinite, which stays exact.
        left = np.where(capacities > 2 * known_ms, np.inf, capacities)
        return cls(
            units=count,
            vertices=2 + count + len(copies),
            tails=np.concatenate([tails, heads]),
            heads=np.concatenate([heads, tails]),
            left_ms=np.concatenate([left, np.zeros_like(left)]),
        )

    def push(self, gap_ms: float) -> tuple[_Network, float, list[NDArray[np.bool_]]]:
        """Push a maximum flow; at most `gap_ms` can still be pushed.

        Returns what is left, how much was pushed (ms), and sets of edge units that the flow cuts at.
        """
        from scipy.sparse import csr_array  # here: scipy takes 0.3 s to import, and small problems need none
        from scipy.sparse.csgraph import breadth_first_order, maximum_flow

        quantum_ms = gap_ms / _FULL_SCALE
        whole = np.minimum(np.floor(self.left_ms / quantum_ms), _INFINITE).astype(np.int32)
        shape = (self.vertices, self.vertices)
        capacity = csr_array((whole, (self.tails, self.heads)), shape=shape)
        result = maximum_flow(capacity, _EDGE, _CLOUD)
        flow = csr_array(result.flow)
        units = slice(2, 2 + self.units)
        sets = []
        # Rounding leaves up to a quantum an arc, which hides ties: arcs with no more left count as full, too.
        for rest in (0, self.vertices):
            residual = csr_array(capacity - flow)
            residual.data[residual.data <= rest] = 0
            residual.eliminate_zeros()
            fewest = np.zeros(self.vertices, dtype=np.bool_)
            fewest[breadth_first_order(residual, _EDGE, return_predecessors=False)] = True
            most = np.ones(self.vertices, dtype=np.bool_)
            most[breadth_first_order(csr_array(residual.T), _CLOUD, return_predecessors=False)] = False
            sets += [fewest[units], most[units]]
        flows = flow.tocoo()
        values = flows.data.astype(np.float64)
        pushed = _look_up(self._keys(flows.row, flows.col), values, self._keys(self.tails, self.heads))
        left_ms = np.maximum(self.left_ms - pushed * quantum_ms, 0.0)
        pushed_ms = float(result.flow_value) * quantum_ms
        return replace(self, left_ms=left_ms), pushed_ms, sets

    def _keys(self, tails: NDArray[np.integer], heads: NDArray[np.integer]) -> NDArray[np.int64]:
        return tails.astype(np.int64) * self.vertices + heads


def _look_up(
    keys: NDArray[np.int64], values: NDArray[np.float64], wanted: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the value of each wanted key, all of which are there."""
    order = np.argsort(keys)
    return values[order[np.searchsorted(keys, wanted, sorter=order)]]
