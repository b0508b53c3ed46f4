"""Facts about a Raspberry Pi's camera, with a stand-in for picamera2: it has not run on one."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from common.errors import SourceError
from edge_daemon.capture_job import CaptureJob
from edge_daemon.capture_picamera import capture
from edge_daemon.picture_edit import PictureEdit
from edge_daemon.source_address import SourceKind


class FakePicamera2:
    """What picamera2's manual says of the methods that are used."""

    configured: dict[str, Any]

    def __init__(self, camera_num: int) -> None:
        if camera_num:
            raise IndexError("list index out of range")
        self.started = False

    def create_video_configuration(self, main: dict[str, Any], controls: dict[str, Any]) -> dict[str, Any]:
        return {"main": main, "controls": controls}

    def configure(self, configuration: dict[str, Any]) -> None:
        FakePicamera2.configured = configuration

    def start(self) -> None:
        self.started = True

    def capture_array(self, name: str) -> np.ndarray[Any, Any]:
        assert self.started
        assert name == "main"
        width, height = self.configured["main"]["size"]
        return np.full((height, width, 3), (250, 10, 10), np.uint8)


@pytest.fixture(autouse=True)
def _picamera2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", SimpleNamespace(Picamera2=FakePicamera2))


def test_frames_come_as_jpegs_in_red_green_blue() -> None:
    """Of the size and rate that the address asks for, turned as the settings ask for."""
    options = (("size", "64x48"), ("fps", "5"))
    job = CaptureJob(kind=SourceKind.PICAMERA, target="0", options=options, edit=PictureEdit(90))
    frames = capture(job)
    found = [next(frames) for _ in range(3)]
    assert [(frame.index, frame.position_s) for frame in found] == [(0, None), (1, None), (2, None)]
    image = Image.open(io.BytesIO(found[0].jpeg()))
    assert image.size == (48, 64)
    red, green, blue = image.getpixel((10, 10))  # type: ignore[misc]
    assert red > 200 > 60 > max(green, blue)
    assert FakePicamera2.configured == {
        "main": {"size": (64, 48), "format": "BGR888"},
        "controls": {"FrameRate": 5.0},
    }


def test_a_camera_that_is_not_there_is_told() -> None:
    """By its number."""
    with pytest.raises(SourceError, match="there is no camera 1"):
        next(capture(CaptureJob(kind=SourceKind.PICAMERA, target="1")))
