"""Facts about how far a spool has come, as it is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_daemon.sinks.spool_position import NAME, Position, read_position, write_position

SOME = Position(segment=3, offset=17, id="f0", results="/r", since="a1")


@pytest.mark.parametrize("sync", [True, False])
def test_it_is_read_as_it_was_written(tmp_path: Path, sync: bool) -> None:
    assert read_position(tmp_path) is None
    write_position(tmp_path, SOME, sync=sync)
    assert read_position(tmp_path) == SOME
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


@pytest.mark.parametrize(
    "text",
    [
        '{"segment": "3"}',
        '{"offset": -1}',
        '{"more": 1}',
        '{"results": null}',
        '{"segment": true}',
        "null",
        "{",
    ],
)
def test_a_damaged_one_is_known_as_such(tmp_path: Path, text: str) -> None:
    """It is put aside, and the spool is read from its beginning."""
    (tmp_path / NAME).write_text(text)
    found = read_position(tmp_path)
    assert found == Position(results=None)
    assert not (tmp_path / NAME).exists()
