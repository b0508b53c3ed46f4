"""A frame on its way through the edge, and the two ways in which frames wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file in the source directory, as its metadata identify it: a rewritten file is another frame."""

    name: str
    size: int
    mtime_ns: int

    @property
    def captured_ns(self) -> int:
        return self.mtime_ns

    def to_record(self) -> dict[str, Any]:
        """Return what a record keeps of it, to know it again."""
        return {"size": self.size, "mtime_ns": self.mtime_ns}


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """A frame of a video file: the file, and the frame's index in it. `position_s` is its time from the beginning."""

    video: ImageFile
    index: int
    position_s: float = field(default=0.0, compare=False)

    @property
    def name(self) -> str:
        return f"{self.video.name}#{self.index}"

    @property
    def captured_ns(self) -> int:
        return self.video.mtime_ns

    def to_record(self) -> dict[str, Any]:
        position_s = round(self.position_s, 3)
        return {**self.video.to_record(), "index": self.index, "position_s": position_s}


@dataclass(frozen=True, slots=True)
class LiveFrame:
    """A frame of a camera or stream, which will not come again: there is nothing to know it by at the next start.

    `name` is the source's, without secrets; `captured_ns` in Unix time.
    """

    name: str
    captured_ns: int

    def to_record(self) -> dict[str, Any] | None:
        return None


KnownFrame = ImageFile | VideoFrame
"""What is the same frame at the next start."""
FrameOrigin = KnownFrame | LiveFrame
"""Where a frame comes from. All have a `name`, and `captured_ns`: when it was captured, as far as is known."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, an encoded image, as it was read at `seen_at` (`time.perf_counter`).

    `error` says why it could not be read; `data` is empty then.
    """

    number: int
    origin: FrameOrigin
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
        self._askers = 0
        self._asked = asyncio.Event()

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

    async def wanted(self) -> None:
        """Wait until somebody waits for a frame, and there is none."""
        while not self._askers or self._frame is not None:
            self._asked.clear()
            await self._asked.wait()

    async def get(self) -> Frame | None:
        """Return the newest frame once there is one; None at the end, to everybody who asks."""
        self._askers += 1
        self._asked.set()
        try:
            while self._frame is None:
                if self._ended:
                    return None
                self._changed.clear()
                await self._changed.wait()
            frame, self._frame = self._frame, None
            return frame
        finally:
            self._askers -= 1
            self._asked.set()

    def full(self) -> bool:
        return False
