"""A frame on its way through the edge, and the two ways in which frames wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


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


class FrameQueue(Protocol):
    """Between source and pipeline. None ends it."""

    async def put(self, item: Frame | None, /) -> None: ...
    async def get(self) -> Frame | None: ...
    def put_nowait(self, item: Frame | None, /) -> None: ...
    def full(self) -> bool: ...


LosslessFrameQueue = asyncio.Queue[Frame | None]
"""Between source and pipeline: bounded, the source waits when it is full, nothing is dropped. None ends it."""
QUEUE_FRAMES = 8
"""Frames read ahead: enough to keep the pipeline fed, little memory."""


class LatestFrameSlot:
    """Between source and pipeline: room for one frame; a newer one takes its place, and nobody ever waits to put.

    `replaced` is told of each frame that lost its place.
    """

    def __init__(self, replaced: Callable[[Frame], None]) -> None:
        self._replaced = replaced
        self._frame: Frame | None = None
        self._ended = False
        self._changed = asyncio.Event()

    async def put(self, item: Frame | None, /) -> None:
        self.put_nowait(item)

    def put_nowait(self, item: Frame | None, /) -> None:
        if item is None:
            self._ended = True
        else:
            before, self._frame = self._frame, item
            if before is not None:
                self._replaced(before)
        self._changed.set()

    async def get(self) -> Frame | None:
        """Return the newest frame once there is one; None at the end, to everybody who asks."""
        while self._frame is None:
            if self._ended:
                return None
            self._changed.clear()
            await self._changed.wait()
        frame, self._frame = self._frame, None
        return frame

    def full(self) -> bool:
        return False
