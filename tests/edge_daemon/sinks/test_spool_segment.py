"""Facts about one file of a spool: lines that tell whether they are sound, read from any line on."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_daemon.sinks.spool_segment import Segment, line_of, parse_line, path_of, segment_paths
from tests.edge_daemon.sinks.letters import letter, letters


def test_a_line_is_read_as_it_was_written() -> None:
    assert parse_line(line_of(letter(1))) == letter(1)


@given(st.integers(0, 60), st.integers(1, 255))
def test_a_single_changed_byte_is_seen(at: int, change: int) -> None:
    """Wherever it lies: no record is sent that is not as it was."""
    line = bytearray(line_of(letter(1)))
    if at < len(line) - 1:
        line[at] ^= change
        assert parse_line(bytes(line)) is None


@pytest.mark.parametrize("line", [b"", b"\n", b" \n", b"no-space\n", b"\xff \xff\n"])
def test_garbage_is_no_message(line: bytes) -> None:
    assert parse_line(line) is None


def test_a_segment_is_found_again_from_a_place_on(tmp_path: Path) -> None:
    """With as many records as follow; skipping goes on from there."""
    segment = Segment(path_of(tmp_path, 3), 3, 0)
    segment.create()
    segment.append(b"".join(map(line_of, letters(*range(5)))), 5, sync=True)
    segment.skip(2)
    found = Segment.found(segment.path, segment.start, 100)
    assert (found.index, found.first, found.records) == (3, 100, 3)
    assert list(found.messages()) == letters(2, 3, 4)
    found.skip(1)
    assert (found.first, list(found.messages())) == (101, letters(3, 4))


def test_segments_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    paths = [path_of(tmp_path, index) for index in (9, 10, 10**11)]
    for path in reversed(paths):
        path.touch()
    assert segment_paths(tmp_path) == paths
