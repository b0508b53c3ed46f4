"""Records of frames that never were."""

from __future__ import annotations

from typing import Any

from edge_daemon.frame import Frame, ImageFile
from edge_daemon.results import Durations, FrameRecord, top5_of

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


def line(number: int, name: str | None = None) -> bytes:
    """Make a record as it is in a file."""
    return record(number, name or f"{number}.jpg").to_json().encode() + b"\n"


def file(name: str) -> ImageFile:
    """Make the file that a record of that name is about."""
    return ImageFile(name, 1234, MTIME_NS)
