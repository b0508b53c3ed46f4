"""A frame on its way through the edge."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file in the source directory, as its metadata identify it: a rewritten file is another frame."""

    name: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Frame:
    """One image file as it was read at `seen_at` (`time.perf_counter`).

    `error` says why it could not be read; `data` is empty then.
    """

    number: int
    file: ImageFile
    seen_at: float
    data: memoryview
    error: str | None = None


LosslessFrameQueue = asyncio.Queue[Frame | None]
"""Between source and pipeline: bounded, the source waits when it is full, nothing is dropped. None ends it."""
QUEUE_FRAMES = 8
"""Frames read ahead: enough to keep the pipeline fed, little memory."""
