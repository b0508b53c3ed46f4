"""Facts about records: one line a frame, with exact fields."""

from __future__ import annotations

import json

import pytest

from edge_daemon.frame import Frame, ImageFile, LiveFrame, VideoFrame
from edge_daemon.results import Durations
from tests.edge_daemon.records import MTIME_NS, file, record


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


def test_a_record_says_what_its_frame_is_known_by() -> None:
    """A frame of a video by its index; a camera's has a time of capture, and will never be seen again."""
    origins = (VideoFrame(file("a.mp4"), 7, 0.70001), LiveFrame("rtsp://cam", MTIME_NS))
    found = [
        json.loads(record(frame=Frame(3, origin, 10.0, memoryview(b""))).to_json()) for origin in origins
    ]
    assert [one["name"] for one in found] == ["a.mp4#7", "rtsp://cam"]
    assert found[0]["file"] == {"size": 1234, "mtime_ns": MTIME_NS, "index": 7, "position_s": 0.7}
    assert found[1]["file"] is None
    assert {one["captured_at"] for one in found} == {"2023-11-14T22:13:20.123+00:00"}


@pytest.mark.parametrize(
    ("mtime_s", "shown"),
    [
        (-5, "1969-12-31T23:59:55.000+00:00"),
        (253_402_300_799, "9999-12-31T23:59:59.000+00:00"),
        (253_402_300_800, None),
        (999_999_999_999, None),
        (-999_999_999_999, None),
        (10**21, None),
    ],
)
def test_a_time_that_no_calendar_has_is_null(mtime_s: int, shown: str | None) -> None:
    """A file may have any time (`touch -d @999999999999`): its record says so, and is known again by it."""
    origin = ImageFile("a.jpg", 1234, mtime_s * 10**9)
    found = json.loads(record(frame=Frame(3, origin, 10.0, memoryview(b""))).to_json())
    assert found["captured_at"] == shown
    assert found["file"]["mtime_ns"] == mtime_s * 10**9


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
def test_any_file_name_is_one_line_of_text(name: str) -> None:
    """Quotes, line ends, other scripts and bytes that are no text: read back, it is the same name."""
    text = record(name=name).to_json()
    assert "\n" not in text
    assert json.loads(text.encode())["name"] == name
