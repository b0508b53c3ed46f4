"""Facts about files that are whole whenever somebody reads them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from common.files import write_atomically


def test_a_failed_write_leaves_the_old_file_and_no_scraps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every moment the file is the old or the whole new one, whenever writing fails."""
    path = tmp_path / "file.json"
    write_atomically(path, "old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for step in ("fsync", "replace"):
        with monkeypatch.context() as patched:
            patched.setattr(os, step, fail)
            with pytest.raises(OSError, match="No space"):
                write_atomically(path, "new")
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]
    write_atomically(path, "new")
    assert path.read_text() == "new"


def test_bytes_and_text_are_written_as_they_are(tmp_path: Path) -> None:
    """Text goes as UTF-8, bytes as bytes."""
    write_atomically(tmp_path / "text", "é\n")
    write_atomically(tmp_path / "bytes", b"\xff\x00")
    assert (tmp_path / "text").read_bytes() == "é\n".encode()
    assert (tmp_path / "bytes").read_bytes() == b"\xff\x00"
