"""A step of the bandwidth, judged by the records and the plans around it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from benchmarks.bench_adaptation import Planned, Step, cut_at, plans_of, row_of, seconds_to
from benchmarks.bench_bed import Record

STEP = Step(1, 50e6, 4e6, at=1000.0, until=1030.0)
PLANS = [Planned(990.0, "cloud-only"), Planned(1004.0, "after x"), Planned(1009.0, "edge-only")]


def record(
    name: str, at: float, total: float, cut: str, bytes_up: int = 0, error: str | None = None
) -> Record:
    ended = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    ms = {"total": total}
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


def test_a_step_is_judged_by_its_own_phase() -> None:
    """The right plan is the one at its end; what was in flight took its bytes on the new link."""
    row = row_of("m", STEP, 5.0, RECORDS, PLANS, ["a", "b", "c", "d", "e"], last=True)
    assert (row.cut_before, row.cut_after, row.planned_s) == ("cloud-only", "edge-only", 9.0)
    assert row.frames == 4
    assert row.in_flight_ms == pytest.approx(400.0)
    assert (row.worst_ms, row.steady_before_ms, row.steady_ms) == (900.0, 80.0, 305.0)
    assert (row.lost, row.duplicated, row.failed) == (0, 0, 0)


def test_lost_doubled_and_failed_frames_are_found() -> None:
    """Frames are counted over the whole walk, once; failures where they happened."""
    records = [
        *RECORDS,
        record("e", 1029.5, 1.0, "edge-only"),
        record("f", 1020.0, 0.0, "edge-only", error="bad"),
    ]
    names = ["a", "b", "c", "d", "e", "f", "gone"]
    last = row_of("m", STEP, 5.0, records, PLANS, names, last=True)
    assert (last.lost, last.duplicated, last.failed) == (1, 1, 1)
    first = row_of("m", STEP, 5.0, records, PLANS, names, last=False)
    assert (first.lost, first.duplicated, first.failed) == (0, 0, 1)


def test_a_plan_counts_from_when_it_came_into_force() -> None:
    """0 for one that was in force already, none for one that did not come in the phase."""
    assert seconds_to(PLANS, "after x", STEP) == 4.0
    assert seconds_to(PLANS, "cloud-only", STEP) == 0.0
    assert seconds_to(PLANS, "after y", STEP) is None
    assert cut_at(PLANS, 1005.0) == "after x"
    assert cut_at(PLANS, 0.0) == "none"


def test_plans_are_read_from_the_log() -> None:
    assert plans_of([{"timestamp": "1970-01-01T00:16:30Z", "cut": "x"}]) == [Planned(990.0, "x")]
