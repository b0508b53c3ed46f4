"""Least bottleneck and least latency within a rate, for any graph, as mixed-integer programs (HiGHS).

Source: planning.md §3. DADS's own DSH for the bottleneck is a grid of weighted minimum cuts, which cannot
reach cuts off the convex hull (`benchmarks/dads_heavy_baseline.py`). HiGHS may print to the process's
standard output: callers for whom that matters guard it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.partition.decide import Conditions
from common.partition.integer_program import HighsError, Limits, Objective, Program
from common.partition.problem import Assessment, PlanningProblem

_ATTEMPTS = ((1000.0, True), (137.0, True), (1000.0, False))
"""(what the largest limit is scaled to, presolve) of each attempt.

HiGHS's tolerances are absolute, 1e-6: at 1000 a billionth of the limit. About one small program of 5,000 ends
in a "Solve error" (HiGHS 1.12), or in an exception of its own; so far none has after another scaling.
"""
_MOST_EXCLUSIONS = 20


@dataclass(frozen=True, slots=True)
class Found:
    """What a program's solution comes to.

    `best` is none if no set was found; `infeasible` says whether HiGHS takes it for proved that there is
    none. The lower bound (ms) holds for every set within the limits.
    """

    best: Assessment | None
    lower_bound_ms: float
    infeasible: bool = False


def minimise(
    problem: PlanningProblem,
    conditions: Conditions,
    objective: Objective,
    limits: Limits,
    left_s: Callable[[], float],
) -> Found:
    """Find the cut of least `objective` within `limits`, which hold exactly in what is returned.

    A latency limit of the best known latency breaks ties. HiGHS runs at gap 0 until it has a proof, or for
    the time that `left_s` says is left. Raises `PlanError` if its set is not legal or not worth what it says
    (a bug).
    """
    whole = problem.assess(problem.graph.names, conditions)
    if len(problem.graph) == 1 or conditions.bandwidth_bps == 0:
        if limits.admit(whole):
            return Found(whole, objective.value_ms(whole))
        return Found(None, math.inf, infeasible=True)
    for scale, presolve in _ATTEMPTS:
        program = Program.of(problem, conditions, objective, limits, scale)
        if program is None:
            return Found(None, math.inf, infeasible=True)
        try:
            return _first_within(program, problem, conditions, objective, limits, presolve, left_s)
        except HighsError:
            continue
    return Found(None, 0.0)


def _first_within(
    program: Program,
    problem: PlanningProblem,
    conditions: Conditions,
    objective: Objective,
    limits: Limits,
    presolve: bool,
    left_s: Callable[[], float],
) -> Found:
    names = problem.graph.names
    excluded: list[NDArray[np.bool_]] = []
    lower_bound_ms = 0.0
    while len(excluded) < _MOST_EXCLUSIONS:
        answer = program.solve(excluded, presolve, left_s())
        lower_bound_ms = answer.lower_bound_ms
        if answer.members is None:
            return Found(None, lower_bound_ms, answer.infeasible)
        cut = problem.assess((names[u] for u in np.flatnonzero(answer.members)), conditions)
        if limits.admit(cut):
            answer.check(objective.value_ms(cut), program.precision_ms)
            return Found(cut, min(lower_bound_ms, objective.value_ms(cut)))
        # HiGHS met its limits within tolerance only. Excluding this one set leaves every bound valid.
        excluded.append(answer.members)
    return Found(None, lower_bound_ms)
