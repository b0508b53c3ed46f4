"""Rows on disk, and what a run that goes on finds there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.bench_machine import Machine
from benchmarks.bench_part_rows import OverheadRow
from benchmarks.bench_rows import RegretRow
from benchmarks.bench_store import RowFile, Settings, read, read_all
from tests.benchmarks.bench_examples import MACHINE, regret_row

SETTINGS: Settings = {"rounds": 4, "weights": "random:0"}


def row_file(path: Path, settings: Settings = SETTINGS, machine: Machine = MACHINE) -> RowFile[RegretRow]:
    return RowFile(path, RegretRow, settings, machine)


def test_a_run_that_goes_on_finds_its_rows(tmp_path: Path) -> None:
    """Rows come back equal, known by their keys; the points that are missing are missing."""
    rows = [regret_row(rate_bps=1e6), regret_row(rate_bps=8e6, adaptive=99.5)]
    path = tmp_path / "regret" / "resnet18.json"
    first = row_file(path)
    for row in rows:
        first.add(row)
    again = row_file(path)
    assert not again.rows, "without being told to, a run measures anew"
    again.resume()
    assert list(again.rows) == rows
    assert "8000000" in again
    assert "20000000" not in again


@pytest.mark.parametrize("changed", [{"rounds": 2}, {"slowdown": 8.0}], ids=str)
def test_rows_of_other_settings_are_another_experiments(tmp_path: Path, changed: Settings) -> None:
    """They are not taken over, and the first new row takes the file's place."""
    path = tmp_path / "m.json"
    row_file(path).add(regret_row(rate_bps=1e6))
    other = row_file(path, {**SETTINGS, **changed})
    other.resume()
    assert not other.rows
    other.add(regret_row(rate_bps=8e6))
    saved = read(path, RegretRow)
    assert saved is not None
    assert [row.rate_bps for row in saved.rows] == [8e6]
    assert saved.settings == {**SETTINGS, **changed}


@pytest.mark.parametrize("changed", [{"cpu": "another CPU"}, {"packages": ("torch 3",)}], ids=str)
def test_rows_of_another_machine_are_another_experiments(
    tmp_path: Path, changed: dict[str, str | tuple[str, ...]]
) -> None:
    """A file names one machine: rows that were taken over from elsewhere would bear the wrong name."""
    path = tmp_path / "m.json"
    row_file(path).add(regret_row(rate_bps=1e6))
    other = row_file(path, machine=replace(MACHINE, **changed))  # type: ignore[arg-type]
    other.resume()
    assert not other.rows
    other.keep(lambda _: True)
    assert not other.rows


def test_a_run_that_measures_anew_keeps_what_lies_beside(tmp_path: Path) -> None:
    """Only what is asked for is measured: rows for other rates stay in the file."""
    path = tmp_path / "m.json"
    first = row_file(path)
    first.add(regret_row(rate_bps=1e6))
    first.add(regret_row(rate_bps=8e6))
    again = row_file(path)
    again.keep(lambda row: row.rate_bps != 8e6)
    assert "8000000" not in again, "asked for, and so measured anew"
    again.add(regret_row(adaptive=90.0, rate_bps=8e6))
    saved = read(path, RegretRow)
    assert saved is not None
    assert [(row.rate_bps, row.adaptive.median) for row in saved.rows] == [(1e6, 100.0), (8e6, 90.0)]


def test_a_file_tells_since_when_its_rows_were_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the run that began the first of them; an older file tells when its last one was."""
    times = [f"at {number}" for number in range(9)]
    monkeypatch.setattr("benchmarks.bench_store._now", lambda: times.pop(0))
    path = tmp_path / "m.json"
    row_file(path).add(regret_row(rate_bps=1e6))
    again = row_file(path)
    again.resume()
    again.add(regret_row(rate_bps=8e6))
    saved = read(path, RegretRow)
    assert saved is not None
    assert (saved.since, saved.measured_at) == ("at 0", "at 3")
    path.write_text(path.read_text().replace('"since": "at 0"', '"since": ""'))
    again = row_file(path)
    again.resume()
    again.add(regret_row(rate_bps=20e6))
    saved = read(path, RegretRow)
    assert saved is not None
    assert (saved.since, saved.measured_at) == ("at 3", "at 5")


def test_a_row_measured_again_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    rows = row_file(tmp_path / "m.json")
    rows.add(regret_row(adaptive=100.0))
    rows.add(regret_row(adaptive=90.0))
    assert [row.adaptive.median for row in rows.rows] == [90.0]


def test_files_of_another_form_are_left_out(tmp_path: Path) -> None:
    """An older version's rows, or half a file, are no rows; the others are found by name."""
    (tmp_path / "a.json").write_text('{"rows": []}')
    (tmp_path / "b.json").write_text("{")
    RowFile(tmp_path / "d.json", OverheadRow, SETTINGS, MACHINE).add(
        OverheadRow(channel="ours", payload_bytes=8, rounds=((1.0,),))
    )
    row_file(tmp_path / "c.json").add(regret_row())
    found = read_all(tmp_path, RegretRow)
    assert [row.model for saved in found for row in saved.rows] == ["resnet18"]
    assert found[0].machine == MACHINE
