"""Least bottleneck and least latency within a rate, for any graph, as mixed-integer programs (HiGHS).

    x_v ∈ {0, 1}  unit v is on the edge             x_w ≤ x_v            for each link v → w (closed)
    y_v ∈ [0, 1]  its output is sent                y_v ≥ x_v − x_w      for each link v → w (sent once)
    Te = Σ te_v·x_v      Tt = Σ (d_v/B)·y_v      Tc = Σ tc_v·(1 − x_v)      x_source = 1

Source: planning.md §3. DADS's own DSH for the bottleneck is a grid of weighted minimum cuts, which cannot
reach cuts off the convex hull (`benchmarks/dads_heavy_baseline.py`). HiGHS may print to the process's
standard output: callers for whom that matters guard it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from common.errors import PlanError
from common.partition.decide import Conditions
from common.partition.problem import Assessment, Links, PlanningProblem, Terms

_SCALE = 1000.0
"""What the time that matters is scaled to. HiGHS's tolerances are absolute, 1e-6: a billionth of that time."""
_TOLERANCE = 1e-9
"""Share of a bound by which the program relaxes it, so that HiGHS's arithmetic refuses no set on the bound."""
_MOST_EXCLUSIONS = 20


class Objective(StrEnum):
    LATENCY = "latency"
    BOTTLENECK = "bottleneck"

    def value_ms(self, cut: Assessment) -> float:
        times = cut.prediction
        return times.latency_ms if self is Objective.LATENCY else times.bottleneck_ms


@dataclass(frozen=True, slots=True)
class Found:
    """What a program's solution comes to.

    `best` is none if no set was found; then `infeasible` says whether it is proved that there is none. The
    lower bound (ms) holds for every set within the limits.
    """

    best: Assessment | None
    lower_bound_ms: float
    infeasible: bool = False


def minimise(
    problem: PlanningProblem,
    conditions: Conditions,
    objective: Objective,
    *,
    stages_at_most_ms: float,
    latency_at_most_ms: float = math.inf,
    time_limit_s: float,
) -> Found:
    """Find the cut of least `objective` among those with Te, Tt and Tc each ≤ `stages_at_most_ms`.

    The limits must be finite for the stages; they hold exactly in what is returned. A latency limit of the
    best known latency breaks ties. HiGHS runs at gap 0 until it has a proof or `time_limit_s` is over.

    Raises `PlanError` if the solver's set is not legal or not worth what the solver says (a bug).
    """
    whole = problem.assess(problem.graph.names, conditions)
    if len(problem.graph) == 1 or conditions.bandwidth_bps == 0:
        if _within(whole, stages_at_most_ms, latency_at_most_ms):
            return Found(whole, objective.value_ms(whole))
        return Found(None, math.inf, infeasible=True)
    program = _Program.of(problem, conditions, objective, stages_at_most_ms, latency_at_most_ms)
    if program is None:
        return Found(None, math.inf, infeasible=True)
    names = problem.graph.names
    excluded: list[NDArray[np.bool_]] = []
    for _ in range(_MOST_EXCLUSIONS):
        answer = program.solve(excluded, time_limit_s)
        if answer.members is None:
            return Found(None, answer.lower_bound_ms, answer.infeasible)
        cut = problem.assess((names[u] for u in np.flatnonzero(answer.members)), conditions)
        if _within(cut, stages_at_most_ms, latency_at_most_ms):
            answer.check(objective.value_ms(cut), program.precision_ms)
            return Found(cut, min(answer.lower_bound_ms, objective.value_ms(cut)))
        # HiGHS met its limits within tolerance only. Excluding this one set leaves every bound valid.
        excluded.append(answer.members)
    return Found(None, answer.lower_bound_ms)


def _within(cut: Assessment, stages_at_most_ms: float, latency_at_most_ms: float) -> bool:
    times = cut.prediction
    return times.bottleneck_ms <= stages_at_most_ms and times.latency_ms <= latency_at_most_ms


@dataclass(frozen=True, slots=True)
class _Answer:
    members: NDArray[np.bool_] | None
    value_ms: float
    lower_bound_ms: float
    infeasible: bool
    optimal: bool

    def check(self, exact_ms: float, precision_ms: float) -> None:
        """Raise `PlanError` unless the set has the value that HiGHS says it has.

        An incumbent at the time limit may be better than HiGHS says: its z need not touch the stages yet.
        """
        if exact_ms > self.value_ms + precision_ms or (
            self.optimal and exact_ms < self.value_ms - precision_ms
        ):
            raise PlanError(f"HiGHS reports {self.value_ms} ms for a set that takes {exact_ms} ms")


@dataclass(frozen=True, slots=True, eq=False)
class _Program:
    """The program in units of `unit_ms`; columns are x of all units, y of those that are read, and z."""

    units: int
    unit_ms: float
    cost: NDArray[np.float64]
    constant: float
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    rows: list[tuple[dict[int, float], float]]
    """Each row's coefficients by column, and what it may come to at most."""

    @classmethod
    def of(
        cls,
        problem: PlanningProblem,
        conditions: Conditions,
        objective: Objective,
        stages_at_most_ms: float,
        latency_at_most_ms: float,
    ) -> _Program | None:
        """Set the program up; none if a unit fits on neither side."""
        graph = problem.graph
        links = Links.of(graph)
        count = len(graph)
        terms = problem.terms(conditions)
        most_ms = stages_at_most_ms * (1 + _TOLERANCE)
        extra_ms = 0.0 if objective is Objective.BOTTLENECK else terms.extra_ms
        unit_ms = (max(most_ms, extra_ms) or 1.0) / _SCALE
        low, high = _placements(graph.index[graph.source], links, terms, most_ms)
        if bool((low > high).any()):
            return None
        readers = sorted({v for v, _ in links.sending})
        sent = {v: count + i for i, v in enumerate(readers)}
        z = count + len(readers)
        # A term above the limit is in no wanted set, so its size may be cut down to what still excludes it.
        edge, link, cloud = (np.minimum(t, 2 * most_ms) / unit_ms for t in terms.by_stage())
        stages: list[tuple[dict[int, float], float]] = [
            ({v: edge[v] for v in range(count)}, 0.0),
            ({sent[v]: link[v] for v in readers}, 0.0),
            ({v: -cloud[v] for v in range(count)}, float(cloud.sum())),
        ]
        rows = [({w: 1.0, v: -1.0}, 0.0) for v, w in links.closure]
        rows += [({v: 1.0, w: -1.0, sent[v]: -1.0}, 0.0) for v, w in links.sending]
        bottleneck = objective is Objective.BOTTLENECK
        for coefficients, constant in stages:
            rows.append((coefficients | ({z: -1.0} if bottleneck else {}), -constant))
            if not bottleneck:
                rows[-1] = (coefficients, most_ms / unit_ms - constant)
        latency = np.zeros(z + 1)
        for coefficients, _ in stages:
            for column, value in coefficients.items():
                latency[column] += value
        latency[graph.index[graph.sink]] -= terms.extra_ms / unit_ms
        latency_constant = float(cloud.sum()) + terms.extra_ms / unit_ms
        if math.isfinite(latency_at_most_ms):
            limit = latency_at_most_ms * (1 + _TOLERANCE) / unit_ms - latency_constant
            rows.append(({c: float(value) for c, value in enumerate(latency) if value}, limit))
        only_z = np.zeros(z + 1)
        only_z[z] = 1.0
        sendable = np.array([1.0 if terms.link_ms[v] <= most_ms else 0.0 for v in readers])
        return cls(
            units=count,
            unit_ms=unit_ms,
            cost=only_z if bottleneck else latency,
            constant=0.0 if bottleneck else latency_constant,
            low=np.concatenate([low, np.zeros(len(readers) + 1)]),
            high=np.concatenate([high, sendable, [most_ms / unit_ms if bottleneck else 0.0]]),
            rows=rows,
        )

    def solve(self, excluded: list[NDArray[np.bool_]], time_limit_s: float) -> _Answer:
        from scipy.optimize import (
            Bounds,
            LinearConstraint,
            milp,
        )  # here: 0.3 s that small problems are spared
        from scipy.sparse import csr_array

        rows = [*self.rows, *(self._excluding(members) for members in excluded)]
        height = np.repeat(np.arange(len(rows)), [len(coefficients) for coefficients, _ in rows])
        columns = np.array([c for coefficients, _ in rows for c in coefficients])
        values = np.array([value for coefficients, _ in rows for value in coefficients.values()])
        matrix = csr_array((values, (height, columns)), shape=(len(rows), len(self.cost)))
        integral = np.zeros(len(self.cost), dtype=np.int64)
        integral[: self.units] = 1
        result = milp(
            self.cost,
            integrality=integral,
            bounds=Bounds(self.low, self.high),
            constraints=LinearConstraint(matrix, -np.inf, np.array([limit for _, limit in rows])),
            options={"mip_rel_gap": 0.0, "time_limit": time_limit_s},
        )
        bound = result.mip_dual_bound
        lower_ms = 0.0
        if bound is not None and math.isfinite(bound):
            lower_ms = max(0.0, (float(bound) + self.constant) * self.unit_ms)
        members = None if result.x is None else np.asarray(result.x)[: self.units] > 0.5
        value_ms = math.inf if result.x is None else (float(result.fun) + self.constant) * self.unit_ms
        return _Answer(members, value_ms, lower_ms, infeasible=result.status == 2, optimal=result.status == 0)

    @property
    def precision_ms(self) -> float:
        """What HiGHS's value is exact to: each x may be 1e-6 away from 0 or 1, and each row from its limit."""
        total = sum(abs(value) for coefficients, _ in self.rows for value in coefficients.values())
        return 2e-6 * total * self.unit_ms

    def _excluding(self, members: NDArray[np.bool_]) -> tuple[dict[int, float], float]:
        """Return the row that only this one set breaks: at least one unit is placed otherwise."""
        signs = {u: 1.0 if inside else -1.0 for u, inside in enumerate(members)}
        return signs, float(members.sum()) - 1.0


def _placements(
    source: int, links: Links, terms: Terms, most_ms: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return bounds on x that the limit implies: a unit on the edge has its ancestors there, and so on."""
    count = len(terms.edge_ms)
    before = np.eye(count, dtype=np.bool_)
    for v, w in sorted(links.closure, key=lambda link: link[1]):
        before[w] |= before[v]
    low = (before.T @ terms.cloud_ms > most_ms).astype(np.float64)
    low[source] = 1.0
    high = (before @ terms.edge_ms <= most_ms).astype(np.float64)
    return low, high
