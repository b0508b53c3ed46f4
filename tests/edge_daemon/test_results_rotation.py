"""Facts about the rotation of results: each record in exactly one file, and nothing forgotten that is kept."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from edge_daemon.results_file import ResultsFile
from edge_daemon.results_rotation import Rotation, rotate, rotated
from tests.edge_daemon.records import file, line

ONE = len(line(0))


def fill(path: Path, count: int, rotation: Rotation, first: int = 0) -> ResultsFile:
    results = ResultsFile(path, rotation)
    for number in range(first, first + count):
        results.commit(line(number))
    return results


def content(directory: Path) -> bytes:
    path = directory / "r"
    return b"".join(part.read_bytes() for part in [*rotated(path), path])


def test_a_full_file_is_moved_away_and_all_records_are_found_again(tmp_path: Path) -> None:
    """No file is larger than it may be; after a restart every record counts, and numbers go on."""
    rotation = Rotation(3 * ONE + 10, 8)
    fill(tmp_path / "r", 10, rotation).close()
    assert content(tmp_path) == b"".join(map(line, range(10)))
    assert [path.name for path in rotated(tmp_path / "r")] == ["r.000001", "r.000002", "r.000003"]
    assert all(path.stat().st_size <= rotation.nbytes for path in tmp_path.iterdir())
    again = ResultsFile(tmp_path / "r", rotation)
    assert again.found.answered == {file(f"{number}.jpg") for number in range(10)}
    assert (again.found.last_number, again.found.repeated) == (9, 0)
    again.close()
    without = ResultsFile(tmp_path / "r")
    assert len(without.found.answered) == 10, "also by an edge that does not rotate any more"
    without.close()


def test_as_many_are_kept_as_should_be(tmp_path: Path) -> None:
    """The oldest go; numbers go on, so that no name ever means another file."""
    fill(tmp_path / "r", 10, Rotation(ONE + 10, 2)).close()
    assert [path.name for path in rotated(tmp_path / "r")] == ["r.000008", "r.000009"]
    assert content(tmp_path) == line(7) + line(8) + line(9)


def test_files_of_others_are_neither_read_nor_removed(tmp_path: Path) -> None:
    """Only names with six digits and more are ours."""
    for name in ("r.1", "r.damaged", "r.000001.gz", "rr.000001"):
        (tmp_path / name).write_bytes(line(99))
    fill(tmp_path / "r", 4, Rotation(ONE + 10, 1)).close()
    assert {"r.1", "r.damaged", "r.000001.gz", "rr.000001"} < {path.name for path in tmp_path.iterdir()}
    again = ResultsFile(tmp_path / "r")
    assert file("99.jpg") not in again.found.answered
    again.close()


def test_numbers_beyond_six_digits_come_last(tmp_path: Path) -> None:
    for name in ("r.1000000", "r.999999"):
        (tmp_path / name).touch()
    assert [path.name for path in rotated(tmp_path / "r")] == ["r.999999", "r.1000000"]


def test_a_batch_is_never_divided(tmp_path: Path) -> None:
    """One that is larger than a file may be has a file of its own."""
    results = ResultsFile(tmp_path / "r", Rotation(ONE + 10, 5))
    results.commit(line(0))
    results.commit(line(1) + line(2) + line(3))
    results.commit(line(4))
    results.close()
    assert [path.read_bytes() for path in rotated(tmp_path / "r")] == [line(0), line(1) + line(2) + line(3)]


def refuse(*_: Any, **__: Any) -> None:
    raise OSError(errno.EACCES, "Permission denied")


def test_a_file_that_cannot_be_rotated_grows_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said once, no record is lost or doubled, and it is rotated when it can be."""
    results = fill(tmp_path / "r", 2, Rotation(ONE + 10, 1))
    with monkeypatch.context() as broken:
        broken.setattr(Path, "rename", refuse)
        for number in range(2, 6):
            results.commit(line(number))
    assert content(tmp_path) == b"".join(map(line, range(6)))
    assert [path.name for path in rotated(tmp_path / "r")] == ["r.000001"]
    for number in range(6, 8):
        results.commit(line(number))
    results.close()
    assert content(tmp_path) == line(6) + line(7)
    assert capsys.readouterr().out.count("results cannot be rotated; the file grows on") == 1


def test_old_files_that_cannot_be_removed_stay_and_nothing_else_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said once, no file grows beyond its size, and they are removed when they can be."""
    rotation = Rotation(ONE + 10, 1)
    results = fill(tmp_path / "r", 2, rotation)
    with monkeypatch.context() as broken:
        broken.setattr(Path, "unlink", refuse)
        for number in range(2, 6):
            results.commit(line(number))
    assert [path.read_bytes() for path in rotated(tmp_path / "r")] == [line(number) for number in range(5)]
    for number in range(6, 8):
        results.commit(line(number))
    results.close()
    assert content(tmp_path) == line(6) + line(7)
    said = capsys.readouterr().out
    assert said.count("old results cannot be removed; they stay") == 1
    assert "cannot be rotated" not in said
    assert "moved away" not in said


def test_a_kill_between_the_two_files_loses_nothing(tmp_path: Path) -> None:
    """The full one is moved away, and there is no new one yet."""
    fill(tmp_path / "r", 2, Rotation(10 * ONE, 5)).close()
    rotate(tmp_path / "r")
    assert not (tmp_path / "r").exists()
    again = ResultsFile(tmp_path / "r", Rotation(10 * ONE, 5))
    assert len(again.found.answered) == 2
    again.commit(line(2))
    again.close()
    assert content(tmp_path) == b"".join(map(line, range(3)))


def test_a_new_file_that_cannot_be_begun_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full just then: nothing counts, and the next attempt goes on in the new file."""
    results = fill(tmp_path / "r", 1, Rotation(ONE + 10, 5))
    opened = os.open

    def full(path: Any, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT:
            raise OSError(errno.ENOSPC, "No space left on device")
        return opened(path, flags, mode)

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(OSError, match="No space"):
        results.commit(line(1))
    monkeypatch.setattr(os, "open", opened)
    results.commit(line(1))
    results.close()
    assert content(tmp_path) == line(0) + line(1)


def test_damage_in_a_rotated_file_costs_its_records_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is told; the files of those records are done again."""
    fill(tmp_path / "r", 3, Rotation(2 * ONE + 10, 5)).close()
    full = tmp_path / "r.000001"
    full.write_bytes(b"\0" * 50 + b"\n" + line(1))
    again = ResultsFile(tmp_path / "r")
    assert again.found.answered == {file("1.jpg"), file("2.jpg")}
    again.close()
    assert "a rotated file is damaged" in capsys.readouterr().out


def test_no_megabytes_are_no_rotation() -> None:
    assert Rotation.of(0.0, 5) is None
    assert Rotation.of(1.5, 5) == Rotation(1_572_864, 5)
