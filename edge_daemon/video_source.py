"""Frames of a video file: each once and in order, gone on with after a restart; or played, if the latest counts."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import structlog

from common import limits
from common.errors import ConfigurationError, SourceError
from edge_daemon.capture_feed import CaptureFeed, FeedEvents
from edge_daemon.capture_job import CaptureJob, Ended, Shot, ranges_of
from edge_daemon.capture_watch import restart_delay_s
from edge_daemon.disk_thread import DiskThread
from edge_daemon.frame import Frame, FrameQueue, ImageFile, KnownFrame, LatestFrameSlot, VideoFrame
from edge_daemon.frame_counts import FrameEvent, FrameLedger
from edge_daemon.image_file import NOT_THE_FILES_FAULT
from edge_daemon.source import period_s
from edge_daemon.source_state import SourceCondition, SourceProgress, SourceState

log = structlog.get_logger()


class VideoSource:
    """Puts the frames of a video into a queue, at the sampling rate at most.

    Into a `LosslessFrameQueue` each one that has no result; into a `LatestFrameSlot` the newest, of a video that is
    played in its own time.
    """

    looks = None
    """Its process is watched by itself."""

    def __init__(
        self,
        path: Path,
        progress: SourceProgress,
        job: CaptureJob,
        queue: FrameQueue,
        *,
        ledger: FrameLedger,
        sampling_fps: float,
        done: Iterable[KnownFrame],
        first_number: int,
        exit_when_drained: bool,
        rng: random.Random | None = None,
    ) -> None:
        self._path = path
        self._progress = progress
        self._video = video_file(path)
        self._job = job
        self._queue = queue
        self._ledger = ledger
        self._period_s = period_s(sampling_fps)
        self._taken = {
            frame.index for frame in done if isinstance(frame, VideoFrame) and frame.video == self._video
        }
        self._next_number = first_number
        self._exit_when_drained = exit_when_drained
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
        """Feed the queue until the video's end, then wait for `stop` unless the end ends the run.

        Raises `ConfigurationError` when the file is no video.
        """
        disk = DiskThread("source")  # looks at the file: its share may hang
        try:
            async with asyncio.TaskGroup() as tasks:
                playing = tasks.create_task(self._play(disk))
                stopping = tasks.create_task(stop.wait())
                await asyncio.wait([playing, stopping], return_when=asyncio.FIRST_COMPLETED)
                playing.cancel()
                if self._exit_when_drained:
                    stopping.cancel()
        finally:
            disk.stop(timeout_s=0.0)
        await self._queue.put(None)

    async def _play(self, disk: DiskThread) -> None:
        """Run capturing processes until the video's end. One that ends before has another go, after a pause."""
        failures, path = 0, str(self._path)
        while True:
            found, waited = await self._readable(disk)
            if waited:  # what failed before was the share, not the video
                failures = 0
            self._progress.become(SourceCondition.OPENING)
            taken_before = len(self._taken)
            ended = await self._one_run(found)
            if ended.finished:
                log.info("the end of the video", path=path, frames=len(self._taken))
                break
            if ended.unusable and not self._taken:
                raise ConfigurationError(
                    f"CLEAVE_EDGE_SOURCE={path}: no video that can be read: {ended.reason}"
                )
            self._progress.failed(ended.reason)
            failures = 1 if len(self._taken) > taken_before else failures + 1
            if failures >= limits.CAPTURE_GIVE_UP:
                log.error(
                    "the rest of the video is given up",
                    path=path,
                    frames=len(self._taken),
                    reason=ended.reason,
                )
                break
            log.warning("the video is gone on with", path=path, frames=len(self._taken), reason=ended.reason)
            await asyncio.sleep(restart_delay_s(failures, self._rng))
        self._progress.become(SourceCondition.ENDED)

    async def _readable(self, disk: DiskThread) -> tuple[ImageFile, bool]:
        """Wait until the file can be read: its share may be away. Return what it is, and whether that took time."""
        failures, path = 0, str(self._path)
        while True:
            try:
                found = await disk.run(look_at_video, self._path)
            except OSError as error:
                failures += 1
                if self._progress.failed(str(error.strerror)) or failures == 1:
                    log.warning(
                        "the video cannot be read; waiting until it can be", path=path, reason=error.strerror
                    )
                await asyncio.sleep(restart_delay_s(failures, self._rng))
            else:
                if failures:
                    log.info("the video can be read again", path=path)
                return found, failures > 0

    async def _one_run(self, found: ImageFile) -> Ended:
        if found != self._video:
            return Ended("the file is another one now")
        self.feed = CaptureFeed(
            replace(self._job, skip=ranges_of(self._taken)),
            FeedEvents(ready=self._ready, take=self._take, told=self._told),
            lambda: self._period_s,
        )
        try:
            return await self.feed.run()
        except SourceError as error:
            return Ended(str(error))
        finally:
            self.feed = None

    async def _ready(self) -> None:
        if isinstance(self._queue, LatestFrameSlot):
            await self._queue.wanted()

    async def _take(self, shot: Shot, jpeg: memoryview) -> None:
        origin = VideoFrame(self._video, shot.index, shot.position_s)
        frame = Frame(self._next_number, origin, time.perf_counter(), jpeg, shot.error or None)
        self._next_number += 1
        self._taken.add(shot.index)
        if frame.error is None and not self.first_data.done():
            self.first_data.set_result(bytes(jpeg))
        self._ledger.note(FrameEvent.SEEN)
        await self._queue.put(frame)

    def _told(self, now: float, captured: int, passed_over: int) -> None:
        self._progress.told(now, captured)
        self._ledger.note(FrameEvent.PASSED_OVER, passed_over)


def look_at_video(path: Path) -> ImageFile:
    """Return what a video file is known by. Blocks; raises `OSError` unless it gives a byte, or is empty."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        stat = os.fstat(descriptor)
        os.posix_fadvise(descriptor, 0, 65536, os.POSIX_FADV_DONTNEED)  # not from this machine's memory
        os.pread(descriptor, 1, 0)
    finally:
        os.close(descriptor)
    return ImageFile(path.name, stat.st_size, stat.st_mtime_ns)


def video_file(path: Path) -> ImageFile:
    """Return what a video file is known by, at the start.

    Raises `ConfigurationError` when it cannot be read, or `SourceError` when its disk or share is in trouble.
    """
    try:
        return look_at_video(path)
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> ConfigurationError | SourceError:
    """Return the error that ends the daemon at its start: the operator's, or one after which to start it again."""
    cure = ""
    if error.errno in (errno.EACCES, errno.EPERM):
        cure = "; let the daemon's user read it, and enter the directories above it"
    kind = SourceError if error.errno in NOT_THE_FILES_FAULT else ConfigurationError
    return kind(f"CLEAVE_EDGE_SOURCE={path}: it cannot be read: {error.strerror}{cure}")
