"""Frames of a Raspberry Pi's own camera by picamera2, for the capturing process.

picamera2 comes from the system's packages (`apt install python3-picamera2`), not from pip: the virtual environment
has to be one that sees these (`python3 -m venv --system-site-packages`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from PIL import Image

from common.errors import SourceError
from edge_daemon.capture_job import CaptureJob
from edge_daemon.captured import Captured
from edge_daemon.picture import encode

SIZE = (1280, 720)
"""Pixels, where the source's address asks for no other size."""


def capture(job: CaptureJob) -> Iterator[Captured]:
    """Open the camera and yield its frames as they come. Raises `SourceError`."""
    from picamera2 import Picamera2

    options = dict(job.options)
    width, _, height = options.get("size", "x".join(map(str, SIZE))).partition("x")
    controls: dict[str, Any] = {"FrameRate": float(options["fps"])} if "fps" in options else {}
    try:
        camera = Picamera2(int(job.target))
    except (IndexError, RuntimeError) as error:
        raise SourceError(f"there is no camera {job.target}, or somebody else has it: {error}") from error
    # What libcamera calls BGR888 lies in memory as red, green, blue.
    main = {"size": (int(width), int(height)), "format": "BGR888"}
    camera.configure(camera.create_video_configuration(main=main, controls=controls))
    camera.start()
    index = 0
    while True:
        # A copy: the camera has few buffers, and needs them back.
        picture = Image.fromarray(camera.capture_array("main"))
        yield Captured(index, None, time.monotonic(), partial(encode, picture, job.edit))
        index += 1
