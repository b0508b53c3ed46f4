"""Find the best cut of any graph: one interface to the frontier, the minimum cut and the integer program.

| solver   | answers                                  | where there are ties                              |
|----------|------------------------------------------|---------------------------------------------------|
| frontier | every load, up to 50,000 closed sets     | the other measure decides, exactly                |
| mincut   | least latency only, any graph            | seen in part: the fewest or the most edge units   |
| milp     | every load, any graph, to a time limit   | the other measure decides, of ties to 1 ns        |

Sources: planning.md §§1–3; DADS (Hu, Bao, Wang, Liu, INFOCOM 2019), algorithms 1–3.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from common.errors import ConfigurationError, PlanError
from common.partition.closed_sets import TooManyClosedSetsError
from common.partition.decide import Conditions, choose, fps_of
from common.partition.integer_program import Limits, Objective
from common.partition.milp import Found, minimise
from common.partition.mincut import least_latency
from common.partition.problem import Assessment, Bounded, PlanningProblem, precision_ms
from common.plan import Cut, Mode, Prediction

TIME_LIMIT_S = 20.0
LOWEST_RATE_FPS = 1e-300
"""A sampling rate that every cut keeps: asks for the least latency alone."""
_LEAST_TIME_S = 0.05


class Solver(StrEnum):
    AUTO = "auto"
    """The frontier where it fits; else the minimum cut for light loads and the integer program for others."""
    FRONTIER = "frontier"
    MINCUT = "mincut"
    MILP = "milp"


class SolverError(ConfigurationError):
    """The solver that was asked for cannot answer this question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """The best cut found, the problem it solves, and the bound that proves it.

    `optimal`: the value is within 1 µs (or a billionth) of `lower_bound_ms`, which no legal cut beats.
    """

    cut: Cut
    mode: Mode
    prediction: Prediction
    lower_bound_ms: float
    optimal: bool
    solver: Solver

    @property
    def value_ms(self) -> float:
        """The value in the objective in force: latency (light, heavy) or bottleneck (overloaded, drain)."""
        return objective_of(self.mode).value_ms(Assessment(self.cut, self.prediction))

    @property
    def gap(self) -> float:
        """The share of the value that a better cut could still save at most; 0 where optimal."""
        return 0.0 if self.optimal else 1.0 - self.lower_bound_ms / self.value_ms

    @property
    def sustainable_fps(self) -> float:
        return fps_of(self.prediction.bottleneck_ms)


def objective_of(mode: Mode) -> Objective:
    return Objective.LATENCY if mode in (Mode.LIGHT, Mode.HEAVY) else Objective.BOTTLENECK


def solve(
    problem: PlanningProblem,
    conditions: Conditions,
    solver: Solver = Solver.AUTO,
    *,
    time_limit_s: float = TIME_LIMIT_S,
    clock: Callable[[], float] = time.monotonic,
) -> Solution:
    """Find the best cut under `conditions`, as `choose` defines it.

    The frontier and the minimum cut are exact whatever they take; `time_limit_s` bounds the integer programs
    together. Every answer is computed anew from its set, and compared with what the solver said.

    Raises `SolverError` where `solver` cannot answer: too many closed sets, or not the least latency alone.
    """
    if solver in (Solver.AUTO, Solver.FRONTIER):
        try:
            return _from_frontier(problem, conditions)
        except TooManyClosedSetsError as error:
            if solver is Solver.FRONTIER:
                raise SolverError(f"{error}: the frontier cannot be built; use mincut or milp") from error
    ends_s = clock() + time_limit_s
    search = _Search(problem, conditions, solver, lambda: max(ends_s - clock(), _LEAST_TIME_S))
    return search.drain(Mode.DRAIN) if conditions.rate_fps is None else search.keep_rate()


def _from_frontier(problem: PlanningProblem, conditions: Conditions) -> Solution:
    frontier = problem.frontier
    choice = choose(frontier, conditions)
    again = problem.assess(frontier.cut(choice.entry).edge_units, conditions)
    value_ms = objective_of(choice.mode).value_ms(again)
    if abs(value_ms - choice.lower_bound_ms) > precision_ms(value_ms):
        raise PlanError(f"the frontier has {choice.lower_bound_ms} ms for a set that takes {value_ms} ms")
    return Solution(
        cut=again.cut,
        mode=choice.mode,
        prediction=again.prediction,
        lower_bound_ms=min(choice.lower_bound_ms, value_ms),
        optimal=True,
        solver=Solver.FRONTIER,
    )


@dataclass(frozen=True, slots=True)
class _Search:
    """The solvers that do not enumerate, in the order of planning.md §1."""

    problem: PlanningProblem
    conditions: Conditions
    solver: Solver
    left_s: Callable[[], float]

    def keep_rate(self) -> Solution:
        """Light if the least latency keeps the rate; else heavy if any cut does; else overloaded."""
        period_ms = self.conditions.period_ms
        least = self._least_latency()
        if least.best.prediction.bottleneck_ms <= period_ms:
            by = Solver.MILP if self.solver is Solver.MILP else Solver.MINCUT
            return _solution(Mode.LIGHT, least, by)
        if self.solver is Solver.MINCUT:
            raise SolverError(
                "the minimum cut knows latency only, and the cut of least latency keeps "
                f"{fps_of(least.best.prediction.bottleneck_ms):.3g} of {self.conditions.rate_fps:.3g} "
                "frames/s; use auto or milp"
            )
        kept = self._minimise(Objective.LATENCY, period_ms)
        if kept.best is not None:
            # A tie that the least-latency cut's solver did not see: this one keeps the rate, too.
            value_ms = kept.best.prediction.latency_ms
            tied = value_ms <= _ties_with(least.value_ms)
            kept = self._break_tie(Objective.LATENCY, kept, period_ms)
            return _solution(
                Mode.LIGHT if tied else Mode.HEAVY,
                _bounded(kept, Objective.LATENCY, at_least_ms=least.lower_bound_ms),
                Solver.MILP,
            )
        # None keeps it, or none was found in time: the least bottleneck tells. HiGHS's word that there is
        # none is not taken; the bound on the bottleneck proves it.
        fallback = self.drain(Mode.OVERLOADED, least.best)
        if fallback.prediction.bottleneck_ms > period_ms:
            return fallback
        best = Assessment(fallback.cut, fallback.prediction)
        value_ms = best.prediction.latency_ms
        bound_ms = least.lower_bound_ms if kept.infeasible else max(least.lower_bound_ms, kept.lower_bound_ms)
        return _solution(Mode.HEAVY, Bounded(best, value_ms, min(bound_ms, value_ms)), Solver.MILP)

    def drain(self, mode: Mode, known: Assessment | None = None) -> Solution:
        """Find the least bottleneck, latency as tie-break; `known` is some cut that may be good already."""
        if self.solver is Solver.MINCUT:
            raise SolverError(
                "the minimum cut knows latency only, not the least bottleneck; use auto or milp"
            )
        cuts = [*self._ends(), *([known] if known else [])]
        if known is None and self.solver is Solver.AUTO:
            cuts.append(least_latency(self.problem, self.conditions).best)
        start = min(cuts, key=Objective.BOTTLENECK.value_ms)
        at_most_ms = start.prediction.bottleneck_ms
        found = self._minimise(Objective.BOTTLENECK, at_most_ms) if at_most_ms else Found(start, 0.0)
        if found.best is None or found.best.prediction.bottleneck_ms > at_most_ms:
            # There is at least `start`, so "infeasible" proves nothing.
            found = Found(start, 0.0 if found.infeasible else min(found.lower_bound_ms, at_most_ms))
        found = self._break_tie(Objective.BOTTLENECK, found, at_most_ms)
        return _solution(mode, _bounded(found, Objective.BOTTLENECK), Solver.MILP)

    def _least_latency(self) -> Bounded:
        if self.solver is not Solver.MILP:
            return least_latency(self.problem, self.conditions)
        start = min(self._ends(), key=Objective.LATENCY.value_ms)
        at_most_ms = start.prediction.latency_ms
        found = self._minimise(Objective.LATENCY, at_most_ms)
        if found.best is None:
            found = Found(start, 0.0 if found.infeasible else min(found.lower_bound_ms, at_most_ms))
        return _bounded(self._break_tie(Objective.LATENCY, found, at_most_ms), Objective.LATENCY)

    def _break_tie(self, objective: Objective, found: Found, stages_at_most_ms: float) -> Found:
        """Return the cut of least other measure among those that tie with `found`, and its bound unchanged."""
        assert found.best is not None
        times = found.best.prediction
        if objective is Objective.LATENCY:
            other = Objective.BOTTLENECK
            limits = Limits(min(stages_at_most_ms, times.bottleneck_ms), _ties_with(times.latency_ms))
        else:
            other = Objective.LATENCY
            limits = Limits(_ties_with(times.bottleneck_ms), times.latency_ms)
        tied = minimise(self.problem, self.conditions, other, limits, self.left_s)
        if tied.best is None or other.value_ms(tied.best) >= other.value_ms(found.best):
            return found
        return Found(tied.best, found.lower_bound_ms)

    def _minimise(self, objective: Objective, stages_at_most_ms: float) -> Found:
        return minimise(self.problem, self.conditions, objective, Limits(stages_at_most_ms), self.left_s)

    def _ends(self) -> list[Assessment]:
        graph = self.problem.graph
        return [self.problem.assess(units, self.conditions) for units in (graph.names, [graph.source])]


def _ties_with(value_ms: float) -> float:
    return value_ms + max(1e-6, 1e-9 * value_ms)


def _bounded(found: Found, objective: Objective, at_least_ms: float = 0.0) -> Bounded:
    assert found.best is not None
    value_ms = objective.value_ms(found.best)
    return Bounded(found.best, value_ms, min(max(found.lower_bound_ms, at_least_ms), value_ms))


def _solution(mode: Mode, bounded: Bounded, solver: Solver) -> Solution:
    return Solution(
        cut=bounded.best.cut,
        mode=mode,
        prediction=bounded.best.prediction,
        lower_bound_ms=bounded.lower_bound_ms,
        optimal=bounded.value_ms - bounded.lower_bound_ms <= precision_ms(bounded.value_ms),
        solver=solver,
    )
