"""A capturing process that says what a test has it say."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

from common.errors import SourceError
from edge_daemon.capture_job import CaptureJob, Ended, Message, Shot

Said = tuple[Message, bytes] | Message | SourceError


class ScriptedProcess:
    """Takes the place of a `CaptureProcess`: `say` is what is received next."""

    pid = 1

    def __init__(self, job: CaptureJob) -> None:
        self.job = job
        self.asked = 0
        self.ended = False
        self._said: asyncio.Queue[Said] = asyncio.Queue()

    def say(self, *said: Said) -> None:
        for one in said:
            self._said.put_nowait(one)

    @property
    def drained(self) -> bool:
        """Whether all that was said has been received."""
        return self._said.empty()

    def ask(self) -> None:
        self.asked += 1

    async def receive(self) -> tuple[Message, memoryview]:
        said = await self._said.get()
        if isinstance(said, SourceError):
            raise said
        message, payload = said if isinstance(said, tuple) else (said, b"")
        return message, memoryview(payload)


class Scripts:
    """Takes the place of `capturing`: each process that is started is kept, and may be talked through."""

    def __init__(self, begin: Callable[[ScriptedProcess], None] = lambda process: None) -> None:
        self.processes: list[ScriptedProcess] = []
        self._begin = begin

    @contextlib.asynccontextmanager
    async def capturing(self, job: CaptureJob) -> AsyncIterator[ScriptedProcess]:
        process = ScriptedProcess(job)
        self.processes.append(process)
        self._begin(process)
        try:
            yield process
        finally:
            process.ended = True


def shot(index: int, *, age_s: float = 0.0, error: str = "") -> tuple[Shot, bytes]:
    """Make a frame that was captured `age_s` ago."""
    at = time.monotonic() - age_s
    return Shot(index=index, captured_at=at, captured_ns=1, position_s=index / 10, error=error), b"%d" % index


GONE = Ended("gone")
