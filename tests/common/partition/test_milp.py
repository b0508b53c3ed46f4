import math
from typing import Any

import pytest

from common.errors import PlanError
from common.graph import ModelGraph
from common.partition import integer_program
from common.partition.decide import Conditions
from common.partition.integer_program import Answer, HighsError, Limits, Objective, Program
from common.partition.milp import minimise
from tests.graphs import ONE_BYTE_PER_MS, Problem, off_hull_problem

LINK = Conditions(bandwidth_bps=ONE_BYTE_PER_MS)


def plenty_s() -> float:
    return 10.0


def limit_problem(over_ms: float) -> Problem:
    """A chain: after `a` the stages are (6 + over, 3, 0), latency 9; after `b` (5.5 more) it is edge-only."""
    graph = ModelGraph.from_links({"s": 6, "a": 3, "b": 1}, [("s", "a"), ("a", "b")])
    return Problem(graph, {"s": 0.0, "a": 6.0 + over_ms, "b": 50.0}, {"s": 0.0, "a": 5.0, "b": 0.0})


def test_a_limit_holds_exactly() -> None:
    """A set that is over by less than HiGHS can tell is excluded, and the next best one found."""
    conditions = LINK
    on_the_limit = minimise(limit_problem(0.0), conditions, Objective.LATENCY, Limits(6.0), plenty_s)
    assert on_the_limit.best is not None
    assert on_the_limit.best.cut.crossing == ("a",)
    over = minimise(limit_problem(1e-10), conditions, Objective.LATENCY, Limits(6.0), plenty_s)
    assert over.best is not None
    assert over.best.cut.crossing == ("s",)
    assert over.best.prediction.latency_ms == pytest.approx(11)


def test_no_set_within_the_limits() -> None:
    """No cut of the chain has a bottleneck below 6, and HiGHS says so."""
    found = minimise(off_hull_problem(), LINK, Objective.LATENCY, Limits(5.9), plenty_s)
    assert found.best is None
    assert found.infeasible


@pytest.mark.parametrize(("stages_ms", "none"), [(1.0, True), (20.0, False)])
def test_without_a_link_the_only_set_is_checked_against_the_limits(stages_ms: float, none: bool) -> None:
    """At bandwidth zero there is edge-only, at 10 ms, or nothing."""
    offline = Conditions(bandwidth_bps=0.0)
    found = minimise(off_hull_problem(), offline, Objective.BOTTLENECK, Limits(stages_ms), plenty_s)
    assert (found.best is None) is none
    assert found.infeasible is none


def test_when_highs_fails_it_is_asked_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """A solve error leads to another scaling, then to no presolve; only then there is no answer."""
    real = Program.solve
    asked: list[tuple[float, bool]] = []

    def fail(times: int) -> Any:
        def solve(self: Program, excluded: Any, presolve: bool, time_limit_s: float) -> Answer:
            asked.append((round(self.unit_ms, 6), presolve))
            if len(asked) <= times:
                raise HighsError("HiGHS Status 4: Solve error")
            return real(self, excluded, presolve, time_limit_s)

        return solve

    for times, found in ((2, True), (3, False)):
        asked.clear()
        monkeypatch.setattr(Program, "solve", fail(times))
        best = minimise(off_hull_problem(), LINK, Objective.BOTTLENECK, Limits(10.0), plenty_s)
        assert (best.best is not None) is found
        assert len(set(asked)) == 3
        assert best.lower_bound_ms == pytest.approx(6.0 if found else 0.0)


def test_a_value_that_is_not_the_sets_is_a_bug() -> None:
    """What HiGHS says must be what the set is worth, to its precision; an incumbent may be better."""
    proved = Answer(None, 10.0, 10.0, infeasible=False, optimal=True)
    proved.check(10.0 + 1e-7, 1e-6)
    incumbent = Answer(None, 10.0, 2.0, infeasible=False, optimal=False)
    incumbent.check(9.0, 1e-6)
    for answer, exact_ms in ((proved, 10.1), (proved, 9.9), (incumbent, 10.1)):
        with pytest.raises(PlanError, match="HiGHS reports"):
            answer.check(exact_ms, 1e-6)


def test_out_of_time_is_not_infeasible(monkeypatch: pytest.MonkeyPatch) -> None:
    """HiGHS stopped before it has a set or a proof: no set, a bound of zero, and nothing claimed."""

    class Stopped:
        status, message, x, fun, mip_dual_bound = 1, "Time limit reached", None, None, -math.inf

    import scipy.optimize

    monkeypatch.setattr(scipy.optimize, "milp", lambda *_, **__: Stopped())
    found = minimise(off_hull_problem(), LINK, Objective.BOTTLENECK, Limits(10.0), plenty_s)
    assert (found.best, found.lower_bound_ms, found.infeasible) == (None, 0.0, False)
    assert integer_program.RELAXED_BY < 1e-6
