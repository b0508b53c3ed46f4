"""Facts about results: one line a frame with exact fields, and a restart that continues where it was."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ConfigurationError
from edge_daemon.frame import Frame, ImageFile
from edge_daemon.results import Durations, FrameRecord, JsonLinesSink, top5_of

MTIME_NS = 1_700_000_000_123_456_789


def record(number: int = 3, name: str = "a.jpg", **changes: Any) -> FrameRecord:
    frame = Frame(number, ImageFile(name, 1234, MTIME_NS), 10.0, memoryview(b""))
    fields: dict[str, Any] = {
        "frame": frame,
        "top5": top5_of([(7, "hen", 0.98765432), (8, "cock", 0.01)]),
        "answered_at": 1_700_000_001.5,
        "epoch": 2,
        "cut": "after conv1",
        "mode": "light",
        "sustainable_fps": 12.34567,
        "ran": "split",
        "bytes_up": 4096,
        "durations": Durations(
            queue_ms=0.1,
            head_ms=5.12345,
            encode_ms=0.2,
            link_ms=8.0,
            cloud_queue_ms=0.0,
            tail_ms=3.0,
            total_ms=16.4,
        ),
    }
    return FrameRecord(**(fields | changes))


def test_a_record_has_exactly_these_fields() -> None:
    """What a line says is a promise to whoever reads results; figures are rounded, nothing else."""
    assert json.loads(record().to_json()) == {
        "frame": 3,
        "name": "a.jpg",
        "captured_at": "2023-11-14T22:13:20.123+00:00",
        "answered_at": "2023-11-14T22:13:21.500+00:00",
        "top5": [
            {"index": 7, "label": "hen", "probability": 0.987654},
            {"index": 8, "label": "cock", "probability": 0.01},
        ],
        "plan": {"epoch": 2, "cut": "after conv1", "mode": "light", "sustainable_fps": 12.346},
        "ran": "split",
        "bytes_up": 4096,
        "ms": {
            "queue": 0.1,
            "head": 5.123,
            "encode": 0.2,
            "link": 8.0,
            "cloud_queue": 0.0,
            "tail": 3.0,
            "total": 16.4,
        },
        "error": None,
        "file": {"size": 1234, "mtime_ns": MTIME_NS},
    }


def test_a_failed_frame_is_a_record_with_its_reason() -> None:
    """It has no classes, and null where its time did not go."""
    found = json.loads(
        record(
            top5=(),
            ran="nowhere",
            error="no image",
            sustainable_fps=None,
            durations=Durations(queue_ms=0.0, total_ms=0.0),
        ).to_json()
    )
    assert (found["top5"], found["ran"], found["error"]) == ([], "nowhere", "no image")
    assert found["plan"]["sustainable_fps"] is None
    assert found["ms"]["tail"] is None


def test_random_weights_and_fallbacks_are_in_the_record() -> None:
    """An answer that means nothing says so in every line; a frame the cloud let down says how."""
    found = json.loads(record(weights="random:0", fallback="the cloud is busy").to_json())
    assert found["weights"] == "random:0: the answer means nothing"
    assert found["fallback"] == "the cloud is busy"


@pytest.mark.parametrize(
    "name", ["ö.jpg", 'a"b\\.jpg', "a\nb.jpg", "a\u2028b", "a\udcffb.jpg", "\U0001f426.png"]
)
def test_any_file_name_is_written_and_known_again(tmp_path: Path, name: str) -> None:
    """Quotes, line ends, other scripts and bytes that are no text: one line, and the same file on a restart."""
    target = tmp_path / "results.jsonl"
    sink = JsonLinesSink(str(target))
    sink.write(record(name=name))
    sink.close()
    assert target.read_bytes().count(b"\n") == 1
    again = JsonLinesSink(str(target))
    again.close()
    assert again.answered == {ImageFile(name, 1234, MTIME_NS)}


def test_a_restart_knows_what_was_answered_and_counts_on(tmp_path: Path) -> None:
    """Results are appended; failed frames have their record too, and are not done again."""
    target = tmp_path / "new" / "results.jsonl"
    first = JsonLinesSink(str(target))
    assert (first.answered, first.last_number) == (set(), -1)
    first.write(record(0, "a.jpg"))
    first.write(record(5, "b.jpg", error="no image"))
    first.close()
    second = JsonLinesSink(str(target))
    assert {file.name for file in second.answered} == {"a.jpg", "b.jpg"}
    assert second.last_number == 5
    second.write(record(6, "c.jpg"))
    second.close()
    assert [json.loads(line)["frame"] for line in target.read_text().splitlines()] == [0, 5, 6]


def test_every_line_is_on_disk_as_soon_as_it_is_written(tmp_path: Path) -> None:
    """Whoever follows the file sees each frame at once, and a kill loses none that was answered."""
    sink = JsonLinesSink(str(tmp_path / "r"))
    for number in range(3):
        sink.write(record(number))
        assert len((tmp_path / "r").read_text().splitlines()) == number + 1
    sink.close()


@given(st.data())
def test_a_torn_last_line_is_cut_off_and_its_frame_done_again(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Wherever a kill tore the last line, the lines before it stay, and the file is whole lines afterwards."""
    target = tmp_path_factory.mktemp("torn") / "results.jsonl"
    lines = [record(i, f"ö{i}.jpg").to_json().encode() + b"\n" for i in range(3)]
    torn = data.draw(st.integers(1, len(lines[2]) - 1))
    target.write_bytes(lines[0] + lines[1] + lines[2][:torn])
    sink = JsonLinesSink(str(target))
    assert {file.name for file in sink.answered} == {"ö0.jpg", "ö1.jpg"}
    sink.write(record(2, "ö2.jpg"))
    sink.close()
    assert target.read_bytes() == b"".join(lines)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "not json",
        "null",
        "7",
        "[]",
        "{}",
        '{"name": "a", "frame": 1}',
        '{"name": "a", "file": 7, "frame": 1}',
        '{"name": "a", "file": {"size": 1, "mtime_ns": 2}, "frame": "x"}',
        '{"name": ["a"], "file": {"size": 1, "mtime_ns": 2}, "frame": 1}',
        '{"name": "a", "file": {"size": 1, "mtime_ns": 2}, "frame": Infinity}',
    ],
)
def test_lines_that_are_not_ours_are_left_alone(tmp_path: Path, line: str) -> None:
    """A file with something else in it is neither lost nor an error."""
    target = tmp_path / "r"
    target.write_text(f"{line}\n{record(4).to_json()}\n")
    sink = JsonLinesSink(str(target))
    sink.close()
    assert sink.answered == {ImageFile("a.jpg", 1234, MTIME_NS)}
    assert target.read_text().startswith(f"{line}\n")


def test_a_dash_is_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    """Results can be piped; closing the sink leaves stdout open."""
    sink = JsonLinesSink("-")
    sink.write(record())
    sink.close()
    print("still open")
    first, second = capsys.readouterr().out.splitlines()
    assert json.loads(first)["frame"] == 3
    assert second == "still open"
    assert not sys.stdout.closed


def test_a_record_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """A disk that fills up in the middle of a line leaves no half of it; with room again, writing goes on."""
    target = tmp_path / "r"
    sink = JsonLinesSink(str(target))
    sink.write(record(0))
    first = target.read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(first) + 100, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            sink.write(record(1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert target.read_bytes() == first
    sink.write(record(1))
    sink.close()
    assert [json.loads(line)["frame"] for line in target.read_text().splitlines()] == [0, 1]


def test_a_device_can_take_results() -> None:
    """What is no file has nothing to continue, and nothing is cut off it."""
    sink = JsonLinesSink("/dev/null")
    sink.write(record())
    sink.close()
    full = JsonLinesSink("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        full.write(record())
    full.close()


def test_a_target_that_cannot_be_written_is_the_operators_error(tmp_path: Path) -> None:
    """A directory, or a path through a file: the setting and the system's reason are told."""
    (tmp_path / "file").touch()
    for target in (tmp_path, tmp_path / "file" / "results"):
        with pytest.raises(ConfigurationError, match=f"CLEAVE_EDGE_RESULTS={target}: "):
            JsonLinesSink(str(target))
