"""The benchmark's command line."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from benchmarks import bench as module
from benchmarks.bench import main, read_arguments
from benchmarks.bench_part_rows import RpcRow
from benchmarks.bench_rows import RegretRow
from benchmarks.bench_run import Run, file_name
from benchmarks.bench_sections import SECTIONS, SectionError, each, plain
from benchmarks.bench_store import RowFile
from benchmarks.bench_worker import WorkerError
from tests.benchmarks.bench_examples import MACHINE, regret_row
from tests.event_loop import run

TINY = "tests.tiny_model:factory"


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


def test_settings_with_lists_are_read_back(tmp_path: Path) -> None:
    """A file that cannot be read is none: it would neither be gone on with nor reported."""
    row = RpcRow(model="m", link="l", cut="c", ours_ms=1.0, rpc_ms=1.0, ours_fps=1.0, rpc_fps=1.0)
    settings = plain({"links": ["kernel", "emulated"], "rates": [20e6], "rounds": 3})
    path = tmp_path / "rpc.json"
    RowFile(path, RpcRow, settings, MACHINE).add(row)
    again = RowFile(path, RpcRow, settings, MACHINE)
    again.resume()
    assert again.rows == (row,)


@pytest.mark.parametrize(("resume", "rates_bps"), [(True, [1e6, 8e6]), (False, [1e6])])
def test_what_lies_beside_is_kept_and_what_is_asked_for_only_by_a_run_that_goes_on(
    tmp_path: Path, resume: bool, rates_bps: list[float]
) -> None:
    """A run of one rate leaves the others' rows, and measures its own anew unless told to go on."""
    first = RowFile(tmp_path / "regret" / "m.json", RegretRow, {}, MACHINE)
    for rate in (1e6, 8e6):
        first.add(regret_row(rate_bps=rate))
    asked = Run(
        out=tmp_path, models=None, rates_bps=(8e6,), weights="random:0", slowdown=8.0, executor="auto",
        rounds=None, resume=resume, cores=(0, 1), machine=MACHINE,
    )  # fmt: skip
    rows = asked.rows("regret", "m", RegretRow, {}, lambda row: row.rate_bps != 8e6)
    assert [row.rate_bps for row in rows.rows] == rates_bps
    assert not asked.rows("overhead", "m", RegretRow, {}).rows
