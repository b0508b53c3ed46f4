"""Facts about a daemon's state as a file for others to read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from common.errors import ConfigurationError
from common.status_file import StatusFile


def test_the_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """A reader that has the old file open still reads the old one: it is never written over."""
    status = StatusFile(tmp_path / "state", "CLEAVE_EDGE_STATE_DIR")
    status.write({"epoch": 1})
    with status.path.open() as reader:
        status.write({"epoch": 2})
        assert json.load(reader) == {"epoch": 1}
    assert json.loads(status.path.read_text()) == {"epoch": 2}
    assert list(status.path.parent.iterdir()) == [status.path]


def test_what_cannot_be_written_is_said_once_and_stops_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A full disk costs the status, not the frames; when there is room again, writing goes on."""
    status = StatusFile(tmp_path / "state", "CLEAVE_EDGE_STATE_DIR")
    (tmp_path / "state").rename(tmp_path / "away")
    status.write({"epoch": 1})
    status.write({"epoch": 2})
    assert capsys.readouterr().out.count("status cannot be written") == 1
    (tmp_path / "away").rename(tmp_path / "state")
    status.write({"epoch": 3})
    assert json.loads(status.path.read_text()) == {"epoch": 3}


def test_a_directory_that_cannot_be_made_is_the_operators_error(tmp_path: Path) -> None:
    """The setting is named at the start, before any frame."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"CLEAVE_EDGE_STATE_DIR=.*file"):
        StatusFile(tmp_path / "file" / "state", "CLEAVE_EDGE_STATE_DIR")
