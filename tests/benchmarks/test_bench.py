"""The benchmark's command line, and the smallest form of two sections, with real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from benchmarks import bench as module
from benchmarks import bench_regret
from benchmarks.bench import main, read_arguments
from benchmarks.bench_link import bench_link
from benchmarks.bench_overhead import PAYLOAD_BYTES, Effort, Overhead
from benchmarks.bench_rows import CLOUD_ONLY, EDGE_ONLY, RegretRow
from benchmarks.bench_run import Run, file_name
from benchmarks.bench_sections import SECTIONS, SectionError, each
from benchmarks.bench_verdicts import BARE, OURS, RPC
from benchmarks.bench_worker import WorkerError
from tests.event_loop import run

TINY = "tests.tiny_model:factory"
RATE_BPS = 20e6


def new_run(out: Path, *, resume: bool = False) -> Run:
    return Run(
        out=out, models=(TINY,), rates_bps=(RATE_BPS,), weights="random:0", slowdown=8.0, executor="torch",
        rounds=1, resume=resume,
    )  # fmt: skip


def test_arguments_choose_sections_models_and_links() -> None:
    """None given, each section has its own models and links; what is unknown is an error of usage."""
    found = read_arguments([])
    assert (found.models, found.rates, found.sections) == (None, None, tuple(SECTIONS))
    found = read_arguments(["--models", "a,b", "--rates", "4mbit,1MB/s", "--sections", "overhead"])
    assert (found.models, found.rates, found.sections) == (("a", "b"), (4e6, 8e6), ("overhead",))
    for wrong in (
        ["--sections", "planner"],
        ["--rates", "fast"],
        ["--rates", "0"],
        ["--slowdown", "0.5"],
        ["--document", "there/is/none.md"],
    ):
        with pytest.raises(SystemExit, match="2"):
            read_arguments(wrong)


def test_a_report_alone_measures_nothing(tmp_path: Path) -> None:
    """Where nothing was measured, the document says so, and keeps what is written by hand."""
    document = tmp_path / "doc.md"
    document.write_text("by hand\n<!-- bench:regret -->\n<!-- /bench:regret -->\n")
    assert main(["--report-only", "--out", str(tmp_path / "out"), "--document", str(document)]) == 0
    assert document.read_text() == "by hand\n<!-- bench:regret -->\nNot measured.\n<!-- /bench:regret -->\n"


def test_a_run_that_is_told_to_end_cleans_up_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its daemons and namespaces would outlive it, and be in the way of the next run."""
    cleaned = []

    async def section(run: Run) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.Event().wait()
        finally:
            cleaned.append(True)

    monkeypatch.setitem(SECTIONS, "codecs", section)
    monkeypatch.setattr(module, "pin_driver", lambda cores: None)
    document = tmp_path / "doc.md"
    document.touch()
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert main(["--sections", "codecs", "--out", str(tmp_path), "--document", str(document)]) == 130
    finally:
        signal.signal(signal.SIGTERM, before)
    assert cleaned


def test_one_model_that_fails_does_not_keep_the_others_from_being_measured() -> None:
    measured: list[str] = []

    async def measure(model: str) -> None:
        if model == "bad":
            raise WorkerError("ended")
        measured.append(model)

    async def scene() -> None:
        with pytest.raises(SectionError, match="bad: ended"):
            await each(("a", "bad", "b"), measure)

    run(scene())
    assert measured == ["a", "b"]


def test_names_of_models_are_names_of_files() -> None:
    assert file_name(TINY) == "tests.tiny_model-factory"


@pytest.mark.alone
@pytest.mark.system
@pytest.mark.skipif(sys.platform != "linux", reason="binds RPC to the interface lo")
def test_three_channels_take_turns(tmp_path: Path) -> None:
    """The same bytes by each of them; every counted exchange has a time."""
    section = Overhead(tmp_path, tuple(sorted(os.sched_getaffinity(0))), Effort(2, 2, 1), lambda _: None)
    rows = {row.channel: row for row in asyncio.run(section.run())}
    assert set(rows) == {OURS, BARE, RPC}
    assert all(row.payload_bytes == PAYLOAD_BYTES == 798_768 for row in rows.values())
    assert all(len(visit) == 2 and min(visit) > 0 for row in rows.values() for visit in row.rounds)


@pytest.mark.alone
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
    assert row.carried_bps == pytest.approx(RATE_BPS, rel=0.3)
    # Of many cuts alike the edge's status tells not of all; of the two ends always.
    assert all(cut.predicted for cut in row.cuts if cut.label in (EDGE_ONLY, CLOUD_ONLY))
    assert asyncio.run(scene(new_run(tmp_path, resume=True))) == (row,)
