"""The integer program behind `milp`, as matrices for HiGHS.

    x_v ∈ {0, 1}  unit v is on the edge             x_w ≤ x_v            for each link v → w (closed)
    y_v ∈ [0, 1]  its output is sent                y_v ≥ x_v − x_w      for each link v → w (sent once)
    Te = Σ te_v·x_v      Tt = Σ (d_v/B)·y_v      Tc = Σ tc_v·(1 − x_v)      x_source = 1

Columns are x of all units, y of those that are read, and z, the bottleneck. Source: planning.md §3.
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

RELAXED_BY = 1e-9
"""Share of a limit by which the program exceeds it, so that HiGHS's arithmetic refuses no set on the limit."""

Row = tuple[dict[int, float], float]
"""Coefficients by column, and what their sum may come to at most."""


class Objective(StrEnum):
    LATENCY = "latency"
    BOTTLENECK = "bottleneck"

    def value_ms(self, cut: Assessment) -> float:
        times = cut.prediction
        return times.latency_ms if self is Objective.LATENCY else times.bottleneck_ms


@dataclass(frozen=True, slots=True)
class Limits:
    """What Te, Tt and Tc, and the latency, may come to at most in ms; finite for the stages."""

    stages_ms: float
    latency_ms: float = math.inf

    def admit(self, cut: Assessment) -> bool:
        times = cut.prediction
        return times.bottleneck_ms <= self.stages_ms and times.latency_ms <= self.latency_ms


class HighsError(Exception):
    """HiGHS has failed at a program, without saying anything about it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What HiGHS found: a set of edge units or none, its value as HiGHS sees it, and a bound for all, in ms."""

    members: NDArray[np.bool_] | None
    value_ms: float
    lower_bound_ms: float
    infeasible: bool
    optimal: bool

    def check(self, exact_ms: float, precision_ms: float) -> None:
        """Raise `PlanError` unless the set has the value that HiGHS says it has.

        An incumbent at the time limit may be better than HiGHS says: its z need not touch the stages yet.
        """
        too_low = exact_ms > self.value_ms + precision_ms
        too_high = self.optimal and exact_ms < self.value_ms - precision_ms
        if too_low or too_high:
            raise PlanError(f"HiGHS reports {self.value_ms} ms for a set that takes {exact_ms} ms")


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """The program with times in units of `unit_ms`."""

    units: int
    unit_ms: float
    cost: NDArray[np.float64]
    constant: float
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    rows: list[Row]

    @classmethod
    def of(
        cls,
        problem: PlanningProblem,
        conditions: Conditions,
        objective: Objective,
        limits: Limits,
        scale: float,
    ) -> Program | None:
        """Set the program up, with its largest limit at `scale`; none if some unit fits on neither side."""
        graph = problem.graph
        links = Links.of(graph)
        terms = problem.terms(conditions)
        sink = graph.index[graph.sink]
        most_ms = limits.stages_ms * (1 + RELAXED_BY)
        extra_ms = 0.0 if objective is Objective.BOTTLENECK else terms.extra_ms
        unit_ms = (max(most_ms, extra_ms) or 1.0) / scale
        low, high = _placements(graph.index[graph.source], links, terms, most_ms)
        if bool((low > high).any()):
            return None
        count = len(graph)
        readers = sorted({v for v, _ in links.sending})
        sent = {v: count + i for i, v in enumerate(readers)}
        z = count + len(readers)
        # A term above the limit is in no wanted set, so its size may be cut down to what still excludes it.
        edge, link, cloud = (np.minimum(term, 2 * most_ms) / unit_ms for term in terms.by_stage())
        stages: list[Row] = [
            ({v: edge[v] for v in range(count)}, 0.0),
            ({sent[v]: link[v] for v in readers}, 0.0),
            ({v: -cloud[v] for v in range(count)}, -float(cloud.sum())),
        ]
        latency = np.zeros(z + 1)
        for coefficients, _ in stages:
            for column, value in coefficients.items():
                latency[column] += value
        latency[sink] -= terms.extra_ms / unit_ms
        constant = float(cloud.sum()) + terms.extra_ms / unit_ms
        rows: list[Row] = [({w: 1.0, v: -1.0}, 0.0) for v, w in links.closure]
        rows += [({v: 1.0, w: -1.0, sent[v]: -1.0}, 0.0) for v, w in links.sending]
        if objective is Objective.BOTTLENECK:
            rows += [(coefficients | {z: -1.0}, limit) for coefficients, limit in stages]
            cost = np.zeros(z + 1)
            cost[z] = 1.0
        else:
            rows += [(coefficients, limit + most_ms / unit_ms) for coefficients, limit in stages]
            cost = latency
        if math.isfinite(limits.latency_ms):
            most = limits.latency_ms * (1 + RELAXED_BY) / unit_ms - constant
            rows.append(({column: float(value) for column, value in enumerate(latency) if value}, most))
        return cls(
            units=count,
            unit_ms=unit_ms,
            cost=cost,
            constant=0.0 if objective is Objective.BOTTLENECK else constant,
            low=np.concatenate([low, np.zeros(len(readers) + 1)]),
            # No upper limit on z, although there is one: HiGHS then fails now and then ("Solve error"), or
            # takes a program for infeasible that is not. `_placements` makes up for the time.
            high=np.concatenate([high, terms.link_ms[readers] <= most_ms, [np.inf]]),
            rows=rows,
        )

    def solve(self, excluded: list[NDArray[np.bool_]], presolve: bool, time_limit_s: float) -> Answer:
        """Run HiGHS at gap 0 on the program without the sets `excluded`. Raises `HighsError` if it fails."""
        from scipy.optimize import (
            Bounds,
            LinearConstraint,
            milp,
        )  # here: 0.3 s that small problems are spared
        from scipy.sparse import csr_array

        rows = [*self.rows, *(self._excluding(members) for members in excluded)]
        height = np.repeat(np.arange(len(rows)), [len(coefficients) for coefficients, _ in rows])
        columns = np.array([column for coefficients, _ in rows for column in coefficients])
        values = np.array([value for coefficients, _ in rows for value in coefficients.values()])
        matrix = csr_array((values, (height, columns)), shape=(len(rows), len(self.cost)))
        integral = np.zeros(len(self.cost), dtype=np.int64)
        integral[: self.units] = 1
        try:
            result = milp(
                self.cost,
                integrality=integral,
                bounds=Bounds(self.low, self.high),
                constraints=LinearConstraint(matrix, -np.inf, np.array([limit for _, limit in rows])),
                options={"mip_rel_gap": 0.0, "presolve": presolve, "time_limit": time_limit_s},
            )
        except (ValueError, RuntimeError) as error:  # seen: "vector::reserve" from within HiGHS
            raise HighsError(str(error)) from error
        if result.status not in (0, 1, 2):
            raise HighsError(result.message)
        bound = result.mip_dual_bound
        lower_ms = 0.0
        if bound is not None and math.isfinite(bound):
            lower_ms = max(0.0, (float(bound) + self.constant) * self.unit_ms)
        return Answer(
            members=None if result.x is None else np.asarray(result.x)[: self.units] > 0.5,
            value_ms=math.inf if result.x is None else (float(result.fun) + self.constant) * self.unit_ms,
            lower_bound_ms=lower_ms,
            infeasible=result.status == 2,
            optimal=result.status == 0,
        )

    @property
    def precision_ms(self) -> float:
        """What HiGHS's value is exact to: each x may be 1e-6 away from 0 or 1, and each row from its limit."""
        total = sum(abs(value) for coefficients, _ in self.rows for value in coefficients.values())
        return 2e-6 * total * self.unit_ms

    def _excluding(self, members: NDArray[np.bool_]) -> Row:
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
