"""The report: generated text between markers, everything else as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.bench import DOCUMENT
from benchmarks.bench_part_rows import ExecutorRow
from benchmarks.bench_report import NOT_MEASURED, Measured, machines, render, sections_of
from benchmarks.bench_rows import RegretRow
from benchmarks.bench_store import RowFile, Saved, Settings
from tests.benchmarks.bench_examples import MACHINE, adaptation_row, regret_row, throughput_row

TEXT = """# Title
by hand
<!-- bench:regret -->
old
<!-- /bench:regret -->
by hand, too
<!-- bench:rpc -->
of another day
<!-- /bench:rpc -->
<!-- bench:overhead -->
<!-- /bench:overhead -->
"""


def test_only_what_was_measured_is_written_anew() -> None:
    """Hand-written text stays, and so does a section that this run has nothing on; an empty one says so."""
    text = render(TEXT, {"regret": "new\n\ntable"})
    assert text == TEXT.replace("old", "new\n\ntable").replace(
        "<!-- bench:overhead -->\n", f"<!-- bench:overhead -->\n{NOT_MEASURED}\n"
    )
    assert render(text, {"regret": "new\n\ntable"}) == text


def test_a_section_without_markers_is_an_error() -> None:
    with pytest.raises(ValueError, match="bench:planner"):
        render(TEXT, {"planner": "x"})


def test_the_document_has_markers_for_all_sections() -> None:
    """Whatever is measured has its place in docs/benchmarks.md."""

    settings: Settings = {"link": "emulated"}
    at = "2026-01-01 10:00"
    measured = Measured(
        regret=[Saved(settings, MACHINE, at, (regret_row(),))],
        throughput=[Saved(settings, MACHINE, at, (throughput_row(),))],
        adaptation=[Saved(settings, MACHINE, at, (adaptation_row(),))],
    )
    texts = sections_of(measured)
    assert set(texts) == {"machine", "verdicts", "regret", "throughput", "adaptation"}
    text = render(
        DOCUMENT.read_text(encoding="utf-8"), {**texts, "overhead": "o", "executors": "e", "rpc": "r"}
    )
    assert "a CPU, 2 cores" in text
    assert "## The planner" in text


def test_rows_are_found_where_sections_keep_them(tmp_path: Path) -> None:
    RowFile(tmp_path / "regret" / "resnet18.json", RegretRow, {}, MACHINE).add(regret_row())
    measured = Measured.load(tmp_path)
    assert [row.model for saved in measured.regret for row in saved.rows] == ["resnet18"]
    assert not measured.executors
    assert len(measured.all) == 1


def test_each_machine_is_described_once_with_its_times() -> None:
    def saved(at: str) -> Saved[ExecutorRow]:
        return Saved({"link": "shaped by the kernel (tbf)"}, MACHINE, at, ())

    text = machines([saved("2026-01-02 10:00"), saved("2026-01-01 10:00")])
    assert text == (
        "Measured 2026-01-01 10:00 to 2026-01-02 10:00 on a CPU, 2 cores, 8 GiB of memory; Linux 6, Python 3.11, "
        "torch 2. Link: shaped by the kernel (tbf)."
    )
