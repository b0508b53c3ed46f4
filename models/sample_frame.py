"""A frame, and a network's input, for when no real one is at hand."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
import torch
from PIL import Image

_QUALITY = 85
_DETAIL = ((4, 60.0), (12, 40.0), (40, 26.0), (130, 16.0), (420, 14.0))
"""(cells across, amplitude): amplitude falls with frequency, as it does in photographs."""


@lru_cache(maxsize=8)
def sample_frame(width: int = 1280, height: int = 720) -> bytes:
    """Return a deterministic JPEG with the size (bytes per pixel) and the spectrum of a photograph."""
    source = np.random.PCG64(20190429)  # the raw stream is the same in every NumPy release
    picture = np.full((height, width, 3), 120.0, dtype=np.float32)
    for cells, amplitude in _DETAIL:
        rows = max(2, cells * height // width)
        raw = source.random_raw(rows * cells * 3).astype(np.uint64) >> np.uint64(56)
        patch = Image.fromarray(raw.astype(np.uint8).reshape(rows, cells, 3))
        smooth = np.asarray(patch.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)
        picture += (smooth / 255 - 0.5) * 2 * amplitude
    buffer = io.BytesIO()
    Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def sample_image(size: int) -> torch.Tensor:
    """Return float32[1, 3, size, size] with values as normalised pixels have, all different."""
    return torch.linspace(-2, 2, 3 * size * size).sin_().view(1, 3, size, size)
