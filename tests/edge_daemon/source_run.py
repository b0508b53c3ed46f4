"""A source at work on a directory, and what it put into its queue; the time may be virtual."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge_daemon import source as module
from edge_daemon.frame import Frame, ImageFile, LosslessFrameQueue
from edge_daemon.frame_counts import FrameLedger
from edge_daemon.source import DirectorySource
from tests.event_loop import run

END = b" to the very end\xff\xd9"


def put(directory: Path, *names: str, content: bytes = b"image") -> None:
    for name in names:
        (directory / name).write_bytes(content + END)


def file_of(path: Path) -> ImageFile:
    stat = path.stat()
    return ImageFile(path.name, stat.st_size, stat.st_mtime_ns)


class Run:
    """A source and what it put into its queue."""

    def __init__(self, directory: Path, *, frames_ahead: int = 100, **options: Any) -> None:
        self.queue: LosslessFrameQueue = asyncio.Queue(frames_ahead)
        self.stop = asyncio.Event()
        self.ledger = FrameLedger()
        self.source = DirectorySource(
            directory,
            self.queue,
            ledger=self.ledger,
            **{
                "sampling_fps": 0.0,
                "done": set(),
                "first_number": 0,
                "exit_when_drained": True,
                **options,
            },
        )

    async def to_the_end(self) -> list[Frame]:
        """Run until the source ends; return what it took."""
        await self.source.run(self.stop)
        frames: list[Frame] = []
        while (frame := self.queue.get_nowait()) is not None:
            frames.append(frame)
        assert self.queue.empty(), "nothing comes after the end"
        assert self.ledger.counts.waiting == len(frames)
        return frames

    @contextlib.asynccontextmanager
    async def going(self) -> AsyncIterator[Run]:
        task = asyncio.create_task(self.source.run(self.stop))
        yield self
        self.stop.set()
        await task

    async def next(self) -> Frame:
        frame = await self.queue.get()
        assert frame is not None
        return frame


def names(frames: list[Frame]) -> list[str]:
    return [frame.origin.name for frame in frames]


def taken(directory: Path, **options: Any) -> list[Frame]:
    """Run a source over what is in a directory until that is drained."""
    found: list[Frame] = []

    async def main() -> None:
        found.extend(await Run(directory, **options).to_the_end())

    run(main())
    return found


class VirtualTime:
    """A clock that only waiting moves on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        clock = SimpleNamespace(monotonic=lambda: self.now, time=time.time, perf_counter=lambda: self.now)
        monkeypatch.setattr(module, "time", clock)

        async def wait(event: asyncio.Event, seconds: float) -> bool:
            self.now += seconds
            return False

        monkeypatch.setattr(module, "_set_within", wait)
