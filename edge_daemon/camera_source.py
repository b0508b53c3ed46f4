"""Frames of a camera or stream: the newest each time one is due, by a process that is started anew when it fails."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

import structlog

from common.errors import SourceError
from edge_daemon.capture_feed import CaptureFeed, FeedEvents
from edge_daemon.capture_job import CaptureJob, Shot
from edge_daemon.capture_watch import failures_after, restart_delay_s
from edge_daemon.frame import Frame, LatestFrameSlot, LiveFrame
from edge_daemon.frame_counts import FrameEvent, FrameLedger
from edge_daemon.source import period_s
from edge_daemon.source_state import SourceCondition, SourceProgress, SourceState

log = structlog.get_logger()


class CameraSource:
    """Puts a camera's newest frame into a slot whenever somebody waits for one, at the sampling rate at most.

    `job` makes what the capturing process is told, anew for each; `changed` is called when the state has.
    """

    looks = None
    """Its process is watched by itself."""

    def __init__(
        self,
        progress: SourceProgress,
        job: Callable[[], CaptureJob],
        slot: LatestFrameSlot,
        *,
        ledger: FrameLedger,
        sampling_fps: float,
        first_number: int,
        rng: random.Random | None = None,
    ) -> None:
        self._progress = progress
        self._job = job
        self._slot = slot
        self._ledger = ledger
        self._period_s = period_s(sampling_fps)
        self._next_number = first_number
        self._rng = rng or random.Random()
        self.feed: CaptureFeed | None = None
        """The capturing process at work."""
        self.first_data: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        """The first image's bytes, to profile with."""

    @property
    def state(self) -> SourceState:
        return self._progress.state

    def set_rate(self, fps: float) -> None:
        """Take this many frames per second from now on."""
        self._period_s = period_s(fps)

    async def run(self, stop: asyncio.Event) -> None:
        """Feed the slot until `stop` is set, whatever the camera does."""
        async with asyncio.TaskGroup() as tasks:
            capturing = tasks.create_task(self._capture())
            await stop.wait()
            capturing.cancel()
        self._progress.become(SourceCondition.ENDED)
        await self._slot.put(None)

    async def _capture(self) -> None:
        failures = 0
        while True:
            self._progress.become(SourceCondition.OPENING)
            reason, flowing_s = await self._one_run()
            failures = failures_after(failures, flowing_s)
            if self._progress.failed(reason) or failures == 1:  # else it has been said
                log.warning("the source gives no frames", source=self._progress.name, reason=reason)
            await asyncio.sleep(restart_delay_s(failures, self._rng))

    async def _one_run(self) -> tuple[str, float]:
        """Run one capturing process; return why it ended, and for how long frames came, in seconds."""
        try:
            self.feed = feed = CaptureFeed(
                self._job(),
                FeedEvents(ready=self._slot.wanted, take=self._take, told=self._told),
                lambda: self._period_s,
            )
            ended = await feed.run()
        except SourceError as error:
            return str(error), 0.0
        finally:
            self.feed = None
        return ended.reason, 0.0 if feed.first_at is None else time.monotonic() - feed.first_at

    async def _take(self, shot: Shot, jpeg: memoryview) -> None:
        origin = LiveFrame(self._progress.name, shot.captured_ns)
        frame = Frame(self._next_number, origin, time.perf_counter(), jpeg, shot.error or None)
        self._next_number += 1
        if frame.error is None and not self.first_data.done():
            self.first_data.set_result(bytes(jpeg))
        self._ledger.note(FrameEvent.SEEN)
        await self._slot.put(frame)

    def _told(self, now: float, captured: int, passed_over: int) -> None:
        self._progress.told(now, captured)
        self._ledger.note(FrameEvent.PASSED_OVER, passed_over)
