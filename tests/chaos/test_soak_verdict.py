"""Facts about a soak's verdict: each bar is missed by what it is for, and by nothing else."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tests.chaos.process_figures import Figures
from tests.chaos.soak_verdict import (
    MIB,
    Course,
    Latency,
    Look,
    Rest,
    all_frames,
    as_document,
    row_of,
    table,
)

AFTER = 300.0


def course(
    leak_mib_h: float = 0.0, more_descriptors: int = 0, more_tasks: int = 0, slower: float = 1.0
) -> Course:
    """What half an hour of one daemon looks like, with noise and a warm-up."""
    rng = random.Random(3)
    one = Course()
    for at in range(0, 1800, 2):
        warm_up = 20.0 * min(at / 300.0, 1.0)
        rss = int((300 + warm_up + leak_mib_h * at / 3600 + rng.uniform(0, 0.2)) * MIB)
        figures = Figures(rss_bytes=rss, anonymous_bytes=rss // 2, pss_bytes=rss, descriptors=30, threads=6)
        one.looks.append(Look(float(at), 1, figures))
        late = at > 1200
        if at % 60 == 0:
            tasks = {"lane": 4, "watch": 1 + (more_tasks if late else 0)}
            one.rests.append(Rest(float(at), 20 + (more_descriptors if late else 0), tasks, 500_000 + at))
        for part in range(4):
            ended = at + part / 4
            ms = rng.uniform(5, 10) * (slower if late else 1.0)
            one.latencies.append(Latency(ended - ms / 1e3, ended, ms, "split"))
    return one


def test_a_steady_daemon_misses_nothing() -> None:
    """What the warm-up takes does not count."""
    row = row_of("walk", course(), AFTER)
    assert row.missed() == []
    assert row.rss is not None
    assert abs(row.rss.per_hour) < 0.5
    assert (row.descriptors, row.tasks) == ((20.0, 20.0), (5.0, 5.0))
    assert row.blocks is not None
    assert 500_000 < row.blocks[0] < row.blocks[1] < 501_800
    assert row.p99_drift == pytest.approx(0.0, abs=0.05)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"leak_mib_h": 3.0}, "RSS grows by 3."),
        ({"more_descriptors": 1}, "descriptors at rest from 20 to 21"),
        ({"more_tasks": 2}, "tasks at rest from 5 to 7"),
    ],
)
def test_each_bar_can_be_missed(change: dict[str, float], said: str) -> None:
    found = row_of("walk", course(**change), AFTER).missed()  # type: ignore[arg-type]
    assert len(found) == 1
    assert said in found[0]


def test_all_edges_frames_together_may_drift_by_a_tenth() -> None:
    """Each in multiples of its edge's median, so that a slow edge does not speak for all; of few frames nothing."""
    steady, slow = course(), course()
    slow.latencies = [replace(one, ms=one.ms * 20) for one in slow.latencies]
    found = all_frames([steady, slow], AFTER)
    assert found is not None
    assert found.missed() == []
    assert found.p99[0] == pytest.approx(1.33, abs=0.1)
    worse = all_frames([course(slower=1.3), course(slower=1.3)], AFTER)
    assert worse is not None
    assert "p99 drifts by +3" in worse.missed()[0]
    assert "p99" in worse.line()
    assert all_frames([Course()], AFTER) is None


def test_another_way_is_no_drift_and_a_slower_one_is() -> None:
    """An edge decides by itself, late in the run more often for itself, which takes it four times as long."""
    one, slower = course(), course()
    for frame, some in enumerate(one.latencies):
        if some.ended > 1200 and frame % 20 == 0:
            one.latencies[frame] = replace(some, ms=some.ms * 4, way="edge")
            slower.latencies[frame] = replace(some, ms=some.ms * 4)
    row = row_of("camera", one, AFTER)
    assert row.p99_drift is not None
    assert row.p99_drift > 1.0, "its own figure says what there was"
    found, other = all_frames([one], AFTER), all_frames([slower], AFTER)
    assert found is not None
    assert other is not None
    assert found.missed() == []
    assert other.missed() != []


def test_frames_that_met_a_fault_do_not_count_for_the_percentile() -> None:
    """Nor do those of the warm-up."""
    one = course(slower=3.0)
    one.touched.append((1199.0, 1801.0))
    row = row_of("walk", one, AFTER)
    assert row.p99_drift == pytest.approx(0.0, abs=0.05)
    assert row.frames <= len(one.latencies) / 2


def test_one_that_is_killed_on_purpose_has_no_slope() -> None:
    one = course(leak_mib_h=50.0)
    one.mortal = True
    assert row_of("twins", one, AFTER).missed() == []


def test_a_short_run_judges_nothing_that_it_cannot_know() -> None:
    row = row_of("walk", Course(), 0.0)
    assert row.missed() == []
    assert (row.rss, row.tasks, row.p99_ms) == (None, None, None)


def test_table_and_document_hold_all_rows() -> None:
    courses = {"walk": course(), "twins": Course()}
    rows = [row_of(name, one, AFTER) for name, one in courses.items()]
    lines = table(rows).splitlines()
    assert len(lines) == 4
    assert len({line.count("|") for line in lines}) == 1
    document = as_document(courses, rows)
    assert len(document["rss_mib"]["walk"]) == 30
    assert document["rows"][0]["name"] == "walk"
