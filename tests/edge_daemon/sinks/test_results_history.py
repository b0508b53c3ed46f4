"""Facts about filling a spool up from the results: what follows a record, over all files that are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_daemon.sinks.messages import Message
from edge_daemon.sinks.results_history import ResultsHistory
from tests.edge_daemon.records import line


def mark(number: int) -> str:
    return Message.of(line(number).rstrip()).id


def write(path: Path, *numbers: int) -> None:
    with path.open("ab") as file:
        file.write(b"".join(line(number) for number in numbers))


def after(history: ResultsHistory, *marks: str) -> list[int]:
    """The frames that follow, by their names."""
    known = {Message.of(line(number).rstrip()).id: number for number in range(700)}
    return [known[message.id] for chunk in history.after(marks) for message in chunk]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two rotated files, and the present one."""
    write(tmp_path / "r.000009", 0, 1)
    write(tmp_path / "r.000010", 2, 3)
    write(tmp_path / "r", 4, 5)
    return tmp_path / "r"


def test_what_follows_a_record_is_found_in_whichever_file(results: Path) -> None:
    """Rotated files come in the order of their numbers."""
    history = ResultsHistory(results)
    assert [after(history, mark(number)) for number in (5, 4, 3, 0)] == [[], [5], [4, 5], [1, 2, 3, 4, 5]]
    assert history.last_id == mark(5)
    history.close()


def test_the_first_mark_that_is_there_counts(results: Path) -> None:
    """A later one is asked only if it is not; if none is, everything follows."""
    history = ResultsHistory(results)
    assert after(history, mark(2), mark(4)) == [3, 4, 5]
    assert after(history, mark(99), "", mark(4)) == [5]
    assert after(history, mark(99)) == after(history, "") == [0, 1, 2, 3, 4, 5]
    history.close()


def test_what_comes_later_is_not_seen(results: Path) -> None:
    """It is handed over by the writer itself; nor does it matter what the files are called by then."""
    history = ResultsHistory(results)
    write(results, 6)
    results.rename(results.with_name("elsewhere"))
    write(results, 7)
    assert after(history, mark(3)) == [4, 5]
    history.close()


def test_lines_that_are_no_records_are_left_out(tmp_path: Path) -> None:
    """Somebody's notes, garbage, a torn line."""
    path = tmp_path / "r"
    path.write_bytes(b"note\n" + line(0) + b"\n\0\xff\n" + line(1) + line(2)[:-9])
    history = ResultsHistory(path)
    assert after(history, "") == [0, 1]
    assert history.last_id == mark(1)
    history.close()


def test_many_records_come_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "r"
    write(path, *range(600))
    history = ResultsHistory(path)
    assert [len(chunk) for chunk in history.after([mark(9)])] == [256, 256, 78]
    history.close()


def test_without_a_file_there_is_nothing(tmp_path: Path) -> None:
    """Results that go to a pipe, or that were never written."""
    for path in (None, tmp_path / "nothing", tmp_path / "no" / "where"):
        history = ResultsHistory(path)
        assert (after(history, "x"), history.last_id) == ([], "")
        history.close()
