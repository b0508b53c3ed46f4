"""All solvers against trying every legal set, on random problems. For the long run:

python -m tests.common.partition.agreement 10000
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from common.partition.closed_sets import TooManyClosedSetsError
from common.partition.decide import Conditions
from common.partition.frontier import Frontier
from common.partition.problem import PRECISION_MS, PlanningProblem
from common.partition.solve import LOWEST_RATE_FPS, Solution, Solver, SolverError, solve
from common.plan import Mode
from tests.graphs import Problem, brute_force, random_problem, whole_number_problem

MOST_UNITS = 12
SEED = 20190429


@dataclass(frozen=True)
class Expected:
    """What trying every legal set gives. The tie is the other measure's least among the best sets."""

    mode: Mode
    value_ms: float
    tie_ms: float


def expect(sets: list[tuple[float, float]], conditions: Conditions) -> Expected:
    """Apply planning.md §1 to (latency, bottleneck) of all legal sets."""
    by_bottleneck = min((bottleneck, latency) for latency, bottleneck in sets)
    if conditions.rate_fps is None:
        return Expected(Mode.DRAIN, *by_bottleneck)
    least = min(sets)
    keeping = [pair for pair in sets if pair[1] <= conditions.period_ms]
    if least[1] <= conditions.period_ms:
        return Expected(Mode.LIGHT, *least)
    if keeping:
        return Expected(Mode.HEAVY, *min(keeping))
    return Expected(Mode.OVERLOADED, *by_bottleneck)


class TooLarge(PlanningProblem):
    """A problem that stands for one with too many closed sets to list."""

    @cached_property
    def frontier(self) -> Frontier:
        raise TooManyClosedSetsError("too many for this test")


def random_case(rng: random.Random) -> tuple[Problem, Conditions, list[tuple[float, float]]]:
    """Make a problem, conditions, and (latency, bottleneck) of all of its legal sets.

    The rate is drawn from what the sets can keep, for else nearly no case would be heavy.
    """
    make = rng.choice([random_problem, random_problem, whole_number_problem])
    problem = make(rng, MOST_UNITS)
    link = {"bandwidth_bps": rng.choice([0.0, 1e3, 8e3, 8e3, 1e5, 1e6]), "rtt_ms": rng.choice([0.0, 5.0])}
    scales = {"edge_scale": rng.choice([1.0, 1.0, 2.0]), "cloud_scale": rng.choice([1.0, 1.0, 0.5])}
    scales["cloud_wait_ms"] = rng.choice([0.0, 0.0, 7.0])
    conditions = Conditions(**link, **scales)
    sets = [(latency, bottleneck) for _, latency, bottleneck in brute_force(problem, conditions)]
    load = rng.choice(["drain", "light", "some", "some", "some"])
    if load == "light":
        return problem, Conditions(**link, **scales, rate_fps=LOWEST_RATE_FPS), sets
    bottlenecks = sorted({bottleneck for _, bottleneck in sets if 0 < bottleneck < float("inf")})
    if load == "drain" or not bottlenecks:
        return problem, conditions, sets
    some = bottlenecks[: 1 + len(bottlenecks) // 2]
    period_ms = rng.choice(some) * rng.choice([0.9, 1.0 + 1e-6, 1.1])
    if make is whole_number_problem and rng.random() < 0.5:
        period_ms = rng.choice(
            some
        )  # sums are exact, so a set on the very limit has to be told from one above
    return problem, Conditions(**link, **scales, rate_fps=1000.0 / period_ms), sets


def complaints(solution: Solution, expected: Expected) -> list[str]:
    """Say in what `solution` differs from the definition by more than 1 µs."""
    found = []
    if solution.mode is not expected.mode:
        found.append(f"mode {solution.mode}, not {expected.mode}")
    if abs(solution.value_ms - expected.value_ms) > PRECISION_MS:
        found.append(f"value {solution.value_ms}, not {expected.value_ms}")
    if not solution.optimal:
        found.append("not proved optimal")
    if solution.lower_bound_ms > expected.value_ms + 1e-9 * (1 + expected.value_ms):
        found.append(f"bound {solution.lower_bound_ms} above the optimum {expected.value_ms}")
    by_latency = solution.mode in (Mode.LIGHT, Mode.HEAVY)
    times = solution.prediction
    tie_ms = times.bottleneck_ms if by_latency else times.latency_ms
    if solution.solver is not Solver.MINCUT and tie_ms > expected.tie_ms + PRECISION_MS:
        found.append(f"the tie is not broken: {tie_ms}, not {expected.tie_ms}")
    return found


def check(count: int, seed: int = SEED) -> Counter[str]:
    """Compare every solver on `count` cases; return how often each answered in each mode.

    Raises `AssertionError` that shows the case and what is wrong with the answer; of the solvers only the
    minimum cut may refuse.
    """
    rng = random.Random(seed)
    answers: Counter[str] = Counter()
    for case in range(count):
        problem, conditions, sets = random_case(rng)
        expected = expect(sets, conditions)
        too_large = TooLarge(problem.graph, problem.edge_ms, problem.cloud_ms)
        asked = [(str(solver), problem, solver) for solver in Solver]
        for name, asked_of, solver in [*asked, ("auto, too large", too_large, Solver.AUTO)]:
            try:
                solution = solve(asked_of, conditions, solver)
            except SolverError:
                if solver is not Solver.MINCUT:
                    raise
                answers[f"{name}: refused {expected.mode}"] += 1
                continue
            wrong = complaints(solution, expected)
            assert not wrong, f"case {case}, {name}, {conditions}, {problem}: {'; '.join(wrong)}"
            answers[f"{name}: {solution.mode}"] += 1
    return answers


if __name__ == "__main__":
    started = time.perf_counter()
    total = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    for answer, times in sorted(check(total).items()):
        print(f"{answer:30} {times:6}")
    print(f"{total} cases agree, in {time.perf_counter() - started:.0f} s")
