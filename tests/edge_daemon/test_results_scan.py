"""Facts about reading results at the start: what is a record, what is torn, and what is damaged."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_daemon import results_scan as module
from edge_daemon.frame import Frame, FrameOrigin, LiveFrame, VideoFrame
from edge_daemon.results_scan import Scan, Span, aside, cut_out, scan
from tests.edge_daemon.records import file, line, record


def scan_of(directory: Path, content: bytes) -> Scan:
    target = directory / "r"
    target.write_bytes(content)
    return scan(target)


def test_records_tell_their_files_and_the_last_number(tmp_path: Path) -> None:
    """Numbers need not be in order; a file that is there twice is counted."""
    found = scan_of(tmp_path, line(5) + line(2) + line(3, "5.jpg"))
    assert found == Scan(
        answered={file("5.jpg"), file("2.jpg")}, last_number=5, repeated=1, nbytes=found.nbytes
    )


def test_frames_of_a_video_and_of_a_camera_are_read_as_they_were_written(tmp_path: Path) -> None:
    """A video's is known by the file and its index; a camera's by nothing, but its number counts."""
    video = VideoFrame(file("a#b.mp4"), 7, 0.7)
    origins: list[FrameOrigin] = [video, LiveFrame("rtsp://cam", 1)]
    frames = [Frame(number, origin, 10.0, memoryview(b"")) for number, origin in enumerate(origins)]
    found = scan_of(tmp_path, b"".join(record(frame=frame).to_json().encode() + b"\n" for frame in frames))
    assert found == Scan(answered={video}, last_number=1, nbytes=found.nbytes)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "7",
        "[]",
        "{}",
        '{"name": "a", "frame": 1}',
        '{"name": "a", "file": 7, "frame": 1}',
        '{"name": "a", "file": {"size": 1, "mtime_ns": 2}, "frame": "x"}',
        '{"name": "a", "file": {"size": 1, "mtime_ns": 2, "index": [1]}, "frame": 1}',
        '{"name": 7, "file": {"size": 1, "mtime_ns": 2, "index": 1}, "frame": 1}',
        '{"name": ["a"], "file": {"size": 1, "mtime_ns": 2}, "frame": 1}',
        '{"name": "a", "file": {"size": 1, "mtime_ns": 2}, "frame": Infinity}',
    ],
)
def test_lines_of_somebody_elses_are_left_alone(tmp_path: Path, text: str) -> None:
    """A file with other JSON in it is neither damaged nor an error."""
    found = scan_of(tmp_path, text.encode() + b"\n" + line(4))
    assert (found.answered, found.damaged, found.torn_at) == ({file("4.jpg")}, [], None)


@pytest.mark.parametrize(
    "garbage", [b"not json\n", b"\0\0\0\0\n", b"\xff\xfe\n", line(1)[:50] + line(2), b"[" * 100_000 + b"\n"]
)
def test_what_is_no_text_is_damaged(tmp_path: Path, garbage: bytes) -> None:
    """Zeros after a power cut, halves of two lines in one, nesting without end: told with their place."""
    found = scan_of(tmp_path, line(0) + garbage + line(9))
    assert found.answered == {file("0.jpg"), file("9.jpg")}
    assert found.damaged == [Span(len(line(0)), len(line(0)) + len(garbage))]
    assert found.damaged_bytes == len(garbage)


def test_a_last_line_is_torn_or_damaged(tmp_path: Path) -> None:
    """What begins like a record was torn by a kill; zeros and other text are kept aside."""
    whole = line(0)
    assert scan_of(tmp_path, whole + line(1)[:-1]).torn_at == len(whole)
    assert scan_of(tmp_path, whole + b"{").torn_at == len(whole)
    for other in (b"\0\0\0", b"a note without an end"):
        found = scan_of(tmp_path, whole + other)
        assert (found.torn_at, found.damaged) == (None, [Span(len(whole), len(whole + other))])


def test_garbage_without_a_lines_end_is_read_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gigabytes of zeros are not read at once; what comes after their end is found."""
    monkeypatch.setattr(module, "MOST_LINE_BYTES", len(line(0)) + 100)
    zeros = b"\0" * 5_000
    found = scan_of(tmp_path, line(0) + zeros + b"\n" + line(1))
    assert found.answered == {file("0.jpg"), file("1.jpg")}
    assert found.damaged == [Span(len(line(0)), len(line(0)) + 5_001)]


damage = st.binary(min_size=1, max_size=40).map(lambda data: b"\xff" + data.replace(b"\n", b"") + b"\n")
contents = st.lists(st.one_of(st.integers(0, 99).map(line), damage), max_size=12)


@given(contents, st.binary(max_size=20))
def test_damage_is_cut_out_and_nothing_is_lost(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], end: bytes
) -> None:
    """The good lines stay as they were, in order; the damaged bytes are beside them, in order."""
    target = tmp_path_factory.mktemp("damaged") / "r"
    target.write_bytes(b"".join(parts) + end)
    target.chmod(0o640)
    before = scan(target)
    descriptor = cut_out(target, before)
    os.close(descriptor)
    after = scan(target)
    assert after.damaged == []
    assert after.answered == before.answered
    good = [part for part in parts if part.startswith(b"{")]
    assert target.read_bytes().startswith(b"".join(good))
    assert all(json.loads(part) for part in target.read_bytes().splitlines() if part.strip())
    kept = aside(target).read_bytes()
    assert kept.startswith(b"".join(part for part in parts if not part.startswith(b"{")))
    torn = before.nbytes - before.torn_at if before.torn_at is not None else 0
    assert len(kept) + target.stat().st_size + torn == before.nbytes
    assert target.stat().st_mode & 0o777 == 0o640
    assert {path.name for path in target.parent.iterdir()} == {"r", "r.damaged"}
