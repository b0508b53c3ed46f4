"""The report: what was measured, on what, and the verdicts on it beside the old ones on all else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from benchmarks.bench import DOCUMENT
from benchmarks.bench_bars import AS_JUDGED
from benchmarks.bench_document import render, table_lines
from benchmarks.bench_part_rows import OverheadRow
from benchmarks.bench_report import Measured, measured_on, sections_of, write_report
from benchmarks.bench_rows import AdaptationRow, RegretRow
from benchmarks.bench_sections import SECTIONS
from benchmarks.bench_store import RowFile, Saved, Settings
from benchmarks.bench_verdicts import verdicts
from tests.benchmarks.bench_examples import MACHINE, adaptation_row, regret_row, throughput_row

AT = "2026-01-01 10:00"
OTHER = replace(MACHINE, cpu="another CPU")
SETTINGS: Settings = {**AS_JUDGED["adaptation"], "link": "emulated"}


def saved(
    *rows: AdaptationRow, at: str = AT, since: str = "", settings: Settings = SETTINGS
) -> Saved[AdaptationRow]:
    return Saved(settings, MACHINE, at, rows, since)


def test_the_document_has_markers_for_all_sections() -> None:
    """Whatever is measured has its place in docs/benchmarks.md, with its machine; the rest stays."""
    measured = Measured(
        regret=[Saved({}, MACHINE, AT, (regret_row(),))],
        throughput=[Saved({}, MACHINE, AT, (throughput_row(),))],
        adaptation=[saved(adaptation_row())],
    )
    texts = sections_of(measured)
    assert set(texts) == {"verdicts", "regret", "throughput", "adaptation"}
    every = {**dict.fromkeys(SECTIONS, "a section of this test"), **texts}
    text = render(DOCUMENT.read_text(encoding="utf-8"), every)
    assert text.count("a CPU, 2 cores") == 3
    assert text.count("a section of this test") == len(SECTIONS) - 3
    assert "## The planner" in text


def test_rows_are_found_where_sections_keep_them(tmp_path: Path) -> None:
    """Each section has a directory of its own."""
    RowFile(tmp_path / "regret" / "resnet18.json", RegretRow, {}, MACHINE).add(regret_row())
    measured = Measured.load(tmp_path)
    assert [row.model for part in measured.regret for row in part.rows] == ["resnet18"]
    assert not measured.executors


def test_a_run_of_one_section_leaves_the_others_with_their_verdicts(tmp_path: Path) -> None:
    """Their old words stay, whatever these were; a bar that the document has no word on is open."""
    document = tmp_path / "doc.md"
    sections_before = "<!-- bench:regret -->\nold points\n<!-- /bench:regret -->\n"
    judged = verdicts([], [], [], [])
    regret_bar, prediction_bar = judged["regret"][0].bar, judged["regret"][3].bar
    frames_bar = judged["adaptation"][1].bar
    document.write_text(
        f"{sections_before}<!-- bench:adaptation -->\n<!-- /bench:adaptation -->\n<!-- bench:verdicts -->\n"
        f"| bar | verdict | found |\n| --- | --- | --- |\n| {regret_bar} | met long ago | 39 of 42 points |\n"
        f"| {frames_bar} | **not met** | 9 of 10 frames |\n| a bar of old | met | |\n<!-- /bench:verdicts -->\n"
    )
    RowFile(tmp_path / "out" / "adaptation" / "m.json", AdaptationRow, {}, MACHINE).add(adaptation_row())
    write_report(document, tmp_path / "out")
    text = document.read_text()
    lines = table_lines(text, "verdicts")
    assert text.startswith(sections_before)
    assert lines[regret_bar] == [regret_bar, "met long ago", "39 of 42 points"]
    assert lines[prediction_bar] == [prediction_bar, "not measured", ""]
    assert lines[frames_bar] == [frames_bar, "met as far as measured", "0 of 50 frames"]
    assert "a bar of old" not in lines


def test_a_report_of_nothing_leaves_the_verdicts() -> None:
    """Nor does a file without rows touch them."""
    assert sections_of(Measured()) == {}
    nothing = Measured(overhead=[Saved({}, MACHINE, AT, ())])
    assert sections_of(nothing) == {}


def test_a_section_says_when_where_and_over_which_link_it_was_measured() -> None:
    """From the first row's beginning to the last row's end, over all files; once, where all was alike."""
    first = saved(adaptation_row(), at="2026-01-01 11:00", since="2026-01-01 10:00")
    second = saved(adaptation_row(model="vgg16"), at="2026-01-02 10:00")
    assert measured_on("adaptation", [second, first]) == (
        "Measured 2026-01-01 10:00 to 2026-01-02 10:00 on a CPU, 2 cores, 8 GiB of memory; Linux 6, Python 3.11, "
        "torch 2. Link: emulated."
    )


def test_settings_that_are_not_the_bars_are_told() -> None:
    """So are those that an older form of the rows does not tell."""
    row = adaptation_row()
    text = measured_on("adaptation", [saved(row, settings={**SETTINGS, "slowdown": 4.0})])
    assert text.endswith("Link: emulated. Not as the bars have it: slowdown 4 instead of 8.")
    without = {**AS_JUDGED["throughput"], "rounds": 1}
    del without["batch_max"]
    text = measured_on("throughput", [Saved(without, MACHINE, AT, (throughput_row(),))])
    assert text.endswith("Not as the bars have it: rounds 1 instead of 3, batch max unknown instead of 1.")


def test_models_measured_elsewhere_or_otherwise_are_named() -> None:
    """Each machine with its models; those of a section that has no models are not."""
    elsewhere = Saved(SETTINGS, OTHER, AT, (adaptation_row(model="vgg16"),))
    lines = measured_on("adaptation", [saved(adaptation_row()), elsewhere]).split("\n\n")
    assert lines[0].startswith(f"Measured (resnet18) {AT} on a CPU")
    assert lines[1].startswith(f"Measured (vgg16) {AT} on another CPU")
    row = OverheadRow(channel="ours", payload_bytes=8, rounds=((1.0,),))
    overhead = [Saved({"rounds": 20}, machine, AT, (row,)) for machine in (MACHINE, OTHER)]
    assert measured_on("overhead", overhead).startswith(f"Measured {AT} on a CPU")
