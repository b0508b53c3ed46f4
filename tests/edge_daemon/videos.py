"""Small videos, made with PyAV. How bright a frame is tells its index."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

STEP = 8
"""Between the brightness of one frame and the next; 32 frames can be told apart."""


def make_video(
    path: Path, frames: int = 12, *, fps: int = 10, codec: str = "libx264", size: tuple[int, int] = (64, 48)
) -> Path:
    """Write a video, its kind by the name's ending; a key frame each fifth."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(fps))
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.options = {"g": "5"} if codec != "mjpeg" else {}
        for index in range(frames):
            picture = np.full((size[1], size[0], 3), index * STEP % 256, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def index_of(jpeg: bytes | memoryview) -> int:
    """Return the index of a frame, by its brightness."""
    image = Image.open(io.BytesIO(jpeg)).convert("L")
    return round(float(np.asarray(image).mean()) / STEP)
