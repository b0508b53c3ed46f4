from __future__ import annotations

import hashlib
import io

from PIL import Image

from models.sample_frame import sample_frame


def test_a_sample_frame_is_as_large_as_a_photograph() -> None:
    """1280x720 by default, 120–220 kB, and the same bytes each time."""
    frame = sample_frame()
    assert Image.open(io.BytesIO(frame)).size == (1280, 720)
    assert 120_000 < len(frame) < 220_000
    sample_frame.cache_clear()
    assert hashlib.sha256(sample_frame()).digest() == hashlib.sha256(frame).digest()


def test_a_sample_frame_has_the_size_asked_for() -> None:
    """Width and height are the caller's."""
    assert Image.open(io.BytesIO(sample_frame(64, 48))).size == (64, 48)
