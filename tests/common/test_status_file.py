"""Facts about a daemon's state as a file for others to read."""

from __future__ import annotations

import json
import shutil
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
    (tmp_path / "state" / "status.new").mkdir()
    status.write({"epoch": 1})
    status.write({"epoch": 2})
    assert capsys.readouterr().out.count("status cannot be written") == 1
    (tmp_path / "state" / "status.new").rmdir()
    status.write({"epoch": 3})
    assert json.loads(status.path.read_text()) == {"epoch": 3}


def test_a_directory_that_is_deleted_is_made_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each time, and each time it is said."""
    status = StatusFile(tmp_path / "state", "CLEAVE_EDGE_STATE_DIR")
    for epoch in range(2):
        shutil.rmtree(tmp_path / "state")
        status.write({"epoch": epoch})
        status.write({"epoch": epoch})
        assert json.loads(status.path.read_text()) == {"epoch": epoch}
    said = capsys.readouterr().out
    assert said.count("the state directory was deleted") == 2
    assert "cannot be written" not in said


def test_a_disk_that_is_away_is_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the directory was in is gone, too: nothing is made in its place, and it is said once."""
    disk = tmp_path / "disk"
    status = StatusFile(disk / "state", "CLEAVE_EDGE_STATE_DIR")
    disk.rename(tmp_path / "away")
    status.write({"epoch": 1})
    status.write({"epoch": 2})
    assert not disk.exists()
    (tmp_path / "away").rename(disk)
    status.write({"epoch": 3})
    assert json.loads(status.path.read_text()) == {"epoch": 3}
    said = capsys.readouterr().out
    assert (said.count("status cannot be written"), said.count("made again")) == (1, 0)


def test_a_directory_that_cannot_be_made_is_the_operators_error(tmp_path: Path) -> None:
    """The setting is named at the start, before any frame."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"CLEAVE_EDGE_STATE_DIR=.*file"):
        StatusFile(tmp_path / "file" / "state", "CLEAVE_EDGE_STATE_DIR")
