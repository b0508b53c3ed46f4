"""The smallest form of three sections of the benchmark, with real processes."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from benchmarks import bench_many, bench_regret
from benchmarks.bench_bars import BARE, OURS, RPC
from benchmarks.bench_link import bench_link
from benchmarks.bench_overhead import PAYLOAD_BYTES, Effort, Overhead
from benchmarks.bench_rows import CLOUD_ONLY, EDGE_ONLY, RegretRow
from benchmarks.bench_run import Run

TINY = "tests.tiny_model:factory"
RATE_BPS = 20e6


def new_run(out: Path, *, resume: bool = False) -> Run:
    return Run(
        out=out, models=(TINY,), rates_bps=(RATE_BPS,), weights="random:0", slowdown=8.0, executor="torch",
        rounds=1, resume=resume,
    )  # fmt: skip


@pytest.mark.system
@pytest.mark.skipif(sys.platform != "linux", reason="binds RPC to the interface lo")
def test_three_channels_take_turns(tmp_path: Path) -> None:
    """The same bytes by each of them; every counted exchange has a time."""
    section = Overhead(tmp_path, tuple(sorted(os.sched_getaffinity(0))), Effort(2, 2, 1), lambda _: None)
    rows = {row.channel: row for row in asyncio.run(section.run())}
    assert set(rows) == {OURS, BARE, RPC}
    assert all(row.payload_bytes == PAYLOAD_BYTES == 798_768 for row in rows.values())
    assert all(len(visit) == 2 and min(visit) > 0 for row in rows.values() for visit in row.rounds)


@pytest.mark.system
def test_a_point_is_measured_beside_all_that_it_is_compared_with(tmp_path: Path) -> None:
    """One round on one link; a run that goes on finds the point and starts nothing."""
    effort = bench_regret.Effort(rounds=1, frames=1, interval_s=0.5)

    async def scene(measure: Run) -> tuple[RegretRow, ...]:
        async with bench_link(RATE_BPS, measure.cores) as link:
            bed = measure.bed(TINY, link)
            rows = measure.rows("regret", TINY, RegretRow, effort.settings(bed.pair, link))
            await bench_regret.Regret(bed, effort, lambda _: None).run((RATE_BPS,), rows)
            return rows.rows

    (row,) = asyncio.run(scene(new_run(tmp_path)))
    assert {EDGE_ONLY, CLOUD_ONLY} <= {cut.label for cut in row.cuts}
    assert row.adaptive_cuts
    assert min(row.adaptive.median, row.plain.median, row.http.median) > 0
    assert 0 < row.carried_bps < 1.2 * RATE_BPS, (
        "the kernel shapes the link; less says that the machine is busy"
    )
    # Of many cuts alike the edge's status tells not of all; of the two ends always.
    assert all(cut.predicted for cut in row.cuts if cut.label in (EDGE_ONLY, CLOUD_ONLY))
    assert asyncio.run(scene(new_run(tmp_path, resume=True))) == (row,)


@pytest.mark.system
def test_many_edges_are_compared_with_the_executor_alone(tmp_path: Path) -> None:
    """Two edges on a real cloud, then the bare loop in the batch sizes that were used, in each of two rounds."""
    load = bench_many.Load(
        model=TINY, cut="after normalize", edges=2, executor="torch", batch_max=2, seconds=0.4, rounds=2
    )
    said: list[str] = []
    crowd = asyncio.run(bench_many.measure(load, tmp_path, None, said.append))
    row = bench_many.row_of(load, crowd)
    assert len(row.fps) == len(row.alone_fps) == 2
    assert min(*row.fps, *row.alone_fps) > 0
    assert 0 < row.of_mean <= 1
    assert set(row.batches) <= {1, 2}
    assert row.failed == 0
    assert said[-2:] == [bench_many.line(one) for one in crowd.rounds]
