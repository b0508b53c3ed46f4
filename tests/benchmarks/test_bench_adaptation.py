"""A step of the bandwidth, judged by the records and the plans around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from benchmarks.bench_adaptation import Planned, Step, Walked, cut_at, plans_of, row_of, seconds_to
from benchmarks.bench_bed import Record
from benchmarks.bench_candidates import Candidate
from benchmarks.bench_rows import AdaptationRow

STEP = Step(1, 50e6, 4e6, at=1000.0, until=1030.0)
PLANS = [Planned(990.0, "cloud-only"), Planned(1004.0, "after x"), Planned(1009.0, "edge-only")]


def record(
    name: str, at: float, total: float, cut: str, bytes_up: int = 0, error: str | None = None
) -> Record:
    ended = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    ms = {"queue": 5.0, "total": total}
    return {
        "name": name, "answered_at": ended, "ms": ms, "plan": {"cut": cut}, "bytes_up": bytes_up, "error": error,
    }  # fmt: skip


RECORDS = [
    record("a", 995.0, 80.0, "cloud-only", 200_000),
    record("b", 1000.5, 900.0, "cloud-only", 200_000),  # in flight at the step
    record("c", 1005.0, 420.0, "cloud-only", 200_000),
    record("d", 1025.0, 300.0, "edge-only"),
    record("e", 1029.0, 310.0, "edge-only"),
]


CUTS = [Candidate("cloud-only", 0.0, 200_000.0, 40.0), Candidate("edge-only", 300.0, 0.0, 0.0)]
"""At 4 Mbit/s 440 and 300 ms, at 50 Mbit/s 72 and 300."""


def row(
    records: Sequence[Record], *, plans: Sequence[Planned] = PLANS, names: str = "abcde", **to: float
) -> AdaptationRow:
    step = replace(STEP, **to)  # type: ignore[arg-type]
    return row_of("m", step, 5.0, Walked(records, plans, list(names), [step]), CUTS)


def test_a_step_is_judged_by_its_own_phase() -> None:
    """The plan at its end is judged; what was in flight took its bytes on the new link."""
    found = row(RECORDS)
    assert (found.cut_before, found.cut_after, found.planned_s) == ("cloud-only", "edge-only", 9.0)
    assert found.of_best == 1.0
    assert found.frames == 4
    assert found.in_flight_ms == pytest.approx(400.0)
    assert (found.worst_ms, found.steady_before_ms, found.steady_ms) == (905.0, 85.0, 310.0)
    assert found.allowed_ms == pytest.approx(2 * 310.0 + 400.0)
    assert (found.lost, found.duplicated, found.failed) == (0, 0, 0)


def test_an_edge_that_keeps_the_wrong_plan_is_never_right() -> None:
    """It was in force at once, and is not what the new link wants."""
    kept = [Planned(990.0, "cloud-only")]
    stayed = [
        record(name, 1000.0 + 5 * place, 500.0, "cloud-only") for place, name in enumerate("abcde", start=1)
    ]
    assert row(stayed, plans=kept).planned_s is None
    assert row(stayed, plans=kept, to_bps=40e6).planned_s == 0.0
    unknown = [record("a", 1029.0, 500.0, "after y")]
    assert row(unknown, plans=[Planned(990.0, "after y")]).of_best > 1e3, (
        "a cut that is none of the frontier's"
    )


def test_a_phase_without_an_answer_is_a_row_that_meets_nothing() -> None:
    """An edge that hangs would otherwise end the section, and leave what was met before it."""
    found = row([], names="ab")
    assert (found.cut_after, found.planned_s, found.frames, found.lost) == ("none", None, 0, 2)
    assert found.worst_ms > found.allowed_ms


def test_lost_doubled_and_failed_frames_are_found() -> None:
    """Frames are counted over the whole walk, once; failures where they happened, before and after the steps, too."""
    records = [
        *RECORDS,
        record("e", 1029.5, 1.0, "edge-only"),
        record("f", 1020.0, 0.0, "edge-only", error="bad"),
        record("g", 900.0, 0.0, "cloud-only", error="bad"),
        record("h", 1099.0, 0.0, "edge-only", error="bad"),
    ]
    names = ["a", "b", "c", "d", "e", "f", "g", "h", "gone"]
    second = replace(STEP, number=2, at=1030.0, until=1060.0)
    walked = Walked(records, PLANS, names, [STEP, second])
    first, last = (row_of("m", step, 5.0, walked, CUTS) for step in walked.steps)
    assert (first.lost, first.duplicated, first.failed) == (0, 0, 2)
    assert (last.lost, last.duplicated, last.failed) == (1, 1, 1)


def test_a_plan_counts_from_when_it_came_into_force_to_stay() -> None:
    """0 for one that was in force already, none for one that did not come in the phase, or went again."""
    assert seconds_to(PLANS, "edge-only", STEP) == 9.0
    assert seconds_to(PLANS, "after x", STEP) is None
    assert seconds_to(PLANS[:1], "cloud-only", STEP) == 0.0
    assert seconds_to(PLANS, "after y", STEP) is None
    back = [*PLANS, Planned(1011.0, "edge-only"), Planned(1012.0, "cloud-only"), Planned(1020.0, "edge-only")]
    assert seconds_to(back, "edge-only", STEP) == 20.0
    assert cut_at(PLANS, 1005.0) == "after x"
    assert cut_at(PLANS, 0.0) == "none"


def test_plans_are_read_from_the_log() -> None:
    assert plans_of([{"timestamp": "1970-01-01T00:16:30Z", "cut": "x"}]) == [Planned(990.0, "x")]
