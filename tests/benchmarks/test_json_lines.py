"""Facts about reading JSON lines that are still being written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.json_lines import JsonLines


def test_lines_are_read_as_they_come(tmp_path: Path) -> None:
    """A line counts once it has ended, and what is no JSON object is left out."""
    path = tmp_path / "file"
    lines = JsonLines(path)
    assert lines.read() == []
    path.write_bytes(b'{"a": 1}\n{"a": ')
    assert lines.read() == [{"a": 1}]
    with path.open("ab") as file:
        file.write(b'2}\nno json\n[3]\n\xff\xfe\n{"a": 4}\n')
    assert lines.read() == [{"a": 1}, {"a": 2}, {"a": 4}]
    assert lines.read() == [{"a": 1}, {"a": 2}, {"a": 4}]


def test_each_line_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking again costs the new lines only."""
    path = tmp_path / "file"
    path.write_text('{"a": 1}\n' * 100)
    lines = JsonLines(path)
    lines.read()
    parsed = []

    def loads(line: bytes) -> object:
        parsed.append(line)
        return json.JSONDecoder().decode(line.decode())

    monkeypatch.setattr(json, "loads", loads)
    with path.open("a") as file:
        file.write('{"a": 2}\n')
    assert len(lines.read()) == 101
    assert parsed == [b'{"a": 2}']


def test_a_file_begun_anew_is_read_anew(tmp_path: Path) -> None:
    """A daemon that is started again empties its log."""
    path = tmp_path / "file"
    path.write_text('{"a": 1}\n{"a": 2}\n')
    lines = JsonLines(path)
    lines.read()
    path.write_text('{"b": 1}\n')
    assert lines.read() == [{"b": 1}]
