"""Turns: who has them when, and which are had again."""

from __future__ import annotations

import math
import statistics
import time
from collections import Counter

import pytest

from benchmarks.bench_bed import Record
from benchmarks.bench_settle import Span
from benchmarks.bench_visits import (
    IDLE_WARM,
    NEVER_MS,
    WARM,
    Contender,
    Rounds,
    Visit,
    latency_ms,
    order_of,
    uncertainty,
    visit_of,
)
from tests.event_loop import run

AFTER = [f"2026-11-26T01:00:0{second}.000+00:00" for second in range(3)]
"""When frames were answered: each a second after the one before it."""


def record(total: float, cut: str = "cloud-only", **more: object) -> Record:
    ms = {"queue": 0.5, "total": total, "head": None, "encode": None, "link": None, "tail": 0.1 * total}
    answered = {"answered_at": "2026-11-26T01:00:00.000+00:00"}
    return {"ms": ms, "plan": {"cut": cut}, "error": None, **answered, **more}


def contender(name: str, every: int = 1, probes: bool = False, warm: int = WARM) -> Contender:
    async def answer(numbers: range) -> Visit:
        now = time.time()
        return Visit(round=0, contender=name, began=now, ended=now, latency_ms=(1.0,) * (len(numbers) - warm))

    return Contender(name, answer, warm, every, probes)


def test_frames_that_warm_up_are_not_counted() -> None:
    """Stages that a frame did not go through took no time; fallbacks are counted as such. Waiting is latency."""
    second, third = (
        record(10.0, answered_at=AFTER[1]),
        record(20.0, "edge-only", fallback="gone", answered_at=AFTER[2]),
    )
    visit = visit_of("a", [record(99.0), second, third], 5.0, warm=1)
    assert visit_of("a", [record(99.0), second, third], 5.0, warm=2).latency_ms == (20.5,)
    assert visit.latency_ms == (10.5, 20.5)
    assert visit.head_ms == (0.0, 0.0)
    assert visit.tail_ms == (1.0, 2.0)
    assert visit.cuts == ("cloud-only", "edge-only")
    assert visit.fallbacks == 1
    assert visit.began == 5.0


def test_waiting_for_the_frame_before_it_is_no_latency() -> None:
    """A cut that is slower than frames come would seem to become slower and slower; what it takes is what counts."""
    before, slow = record(300.0), record(300.0, answered_at="2026-11-26T01:00:00.310+00:00")
    slow["ms"]["queue"] = 150.0
    assert latency_ms(slow) == 450.0
    assert latency_ms(slow, before) == pytest.approx(310.0), "10 ms it waited for the processor"
    assert latency_ms(slow, record(300.0, answered_at="2026-11-26T01:00:00.200+00:00")) == 300.0


def test_a_frame_that_failed_took_for_ever() -> None:
    """Its record says 0 ms: it would make whoever failed the fastest."""
    visit = visit_of(
        "a", [record(99.0), record(0.0, error="no memory"), record(20.0, answered_at=AFTER[1])], 5.0, 1
    )
    assert visit.latency_ms == (NEVER_MS, 20.5)
    assert visit.fallbacks == 1


def test_a_measurement_of_the_link_disturbs_whoever_worked_meanwhile() -> None:
    """Before it, during it, after it."""
    visit = Visit(round=0, contender="a", began=100.0, ended=102.0, latency_ms=())
    assert visit.overlaps([(100.5, 101.0)])
    assert visit.overlaps([(99.0, 103.0)])
    assert visit.overlaps([(101.9, 103.0)])
    assert visit.overlaps([(99.0, 100.1)])
    assert not visit.overlaps([(99.0, 99.9), (102.1, 103.0)])


def test_orders_differ_from_round_to_round_and_are_the_same_in_a_second_run() -> None:
    """Who takes part in every second round is there in the first and the third."""
    all_of_them = [contender(str(n)) for n in range(6)] + [contender("seldom", every=2)]
    orders = [[c.name for c in order_of(all_of_them, number, "seed")] for number in range(4)]
    assert len({tuple(name for name in order if name != "seldom") for order in orders}) == 4
    assert ["seldom" in order for order in orders] == [True, False, True, False]
    assert orders[1] == [c.name for c in order_of(all_of_them, 1, "seed")]


def test_everybody_is_visited_in_each_round_and_again_when_disturbed() -> None:
    """A measurement in the first round's time has those visits repeated, but not who measures itself."""
    calls: Counter[str] = Counter()
    spans: list[Span] = []

    def counted(name: str, probes: bool = False) -> Contender:
        inner = contender(name, probes=probes)

        async def answer(numbers: range) -> Visit:
            calls[name] += 1
            if len(calls) == 3 and not spans:  # the first round's last turn: those before it have begun
                spans.append((time.time() - 1.0, time.time()))
            return await inner.run(numbers)

        return Contender(name, answer, WARM, probes=probes)

    rounds = Rounds([counted("a"), counted("b"), counted("adaptive", probes=True)], 2, lambda: spans)
    run(rounds.run(2, "seed"))
    assert sorted((v.round, v.contender) for v in rounds.visits) == [
        (number, name) for number in range(2) for name in ("a", "adaptive", "b")
    ]
    assert calls["adaptive"] == 2
    assert rounds.repeated >= 1
    assert calls["a"] + calls["b"] == 4 + rounds.repeated
    assert all(v.latency_ms == (1.0, 1.0) for v in rounds.visits)


def of(contender: str, number: int, *latency_ms: float) -> Visit:
    return Visit(round=number, contender=contender, began=0.0, ended=1.0, latency_ms=latency_ms)


def test_how_uncertain_a_difference_is_does_not_depend_on_who_is_ahead() -> None:
    """It is that of the differences on the same frames: what makes a frame slow for both tells nothing."""
    ours = [of("a", 0, 110.0, 210.0), of("a", 1, 100.0, 300.0)]
    theirs = [of("b", 0, 100.0, 200.0), of("b", 1, 110.0, 310.0)]
    assert uncertainty([*ours, *theirs], "a", "b") == pytest.approx(
        statistics.stdev([10.0, 10.0, -10.0, -10.0]) / 2.0 / 155.0
    )
    assert uncertainty([*ours, *theirs], "b", "a") == pytest.approx(
        uncertainty([*ours, *theirs], "a", "b"), rel=0.05
    )
    level = [of("b", visit.round, *(ms - 10.0 for ms in visit.latency_ms)) for visit in ours]
    assert uncertainty([*ours, *level], "a", "b") == 0.0


def test_only_rounds_that_both_took_part_in_tell_of_their_difference() -> None:
    """Ends that are far behind are there in every second round; from fewer than two frames nothing follows."""
    visits = [of("a", 0, 100.0, 100.0), of("a", 1, 500.0, 900.0), of("b", 0, 90.0, 90.0)]
    assert uncertainty(visits, "a", "b") == 0.0
    assert uncertainty(visits[1:], "a", "b") == math.inf


def test_there_are_more_rounds_while_it_is_open_what_they_say() -> None:
    """As many as were asked for in any case, and not for ever."""

    def rounds_until(enough: int) -> int:
        rounds = Rounds([contender("a")], 2, list)
        run(rounds.run(2, "seed", most=5, is_open=lambda visits: len(visits) < enough))
        return len(rounds.visits)

    assert [rounds_until(enough) for enough in (1, 4, 9)] == [2, 4, 5]


def test_all_are_sent_the_same_frames_in_a_round_and_others_in_the_next() -> None:
    """Frames differ in size by half: what is compared is so over the same ones, and over all there are. Who was idle
    has one more before them."""
    sent: dict[str, list[range]] = {"a": [], "b": []}

    def noting(name: str, warm: int) -> Contender:
        inner = contender(name, warm=warm)

        async def answer(numbers: range) -> Visit:
            sent[name].append(numbers)
            return await inner.run(numbers)

        return Contender(name, answer, warm)

    run(Rounds([noting("a", WARM), noting("b", IDLE_WARM)], 2, list).run(3, "seed"))
    counted = [number for numbers in sent["a"] for number in numbers[WARM:]]
    assert counted == [number for numbers in sent["b"] for number in numbers[IDLE_WARM:]]
    assert {len(numbers) for numbers in sent["b"]} == {IDLE_WARM + 2}
    assert len(counted) == len(set(counted)) == 6
