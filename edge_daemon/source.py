"""Frames from a directory: what is there, in the order of names, then what arrives; or only ever the newest."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import structlog
import watchfiles

from common.errors import ConfigurationError
from edge_daemon.disk_thread import DiskThread
from edge_daemon.frame import Frame, FrameQueue, ImageFile, KnownFrame
from edge_daemon.frame_counts import FrameEvent, FrameLedger
from edge_daemon.image_file import ends_like_an_image
from edge_daemon.image_reader import ImageReader
from edge_daemon.source_state import SourceCondition, SourceState
from edge_daemon.taken_files import Listing, TakenFiles
from edge_daemon.unread_files import Trouble

log = structlog.get_logger()

STABLE_S = 0.5
"""A file that ends like no whole image counts once it has not changed for this long."""
LOOK_AGAIN_MS = 1_000
"""The directory is read again at least this often: network shares announce nothing."""
READ_AGAIN_S = 1.0
"""Between rounds in which files could not be read, and none was taken."""
TEMPORARY = (".tmp", ".part", ".partial", ".crdownload", "~")
"""Endings of files that somebody is still writing."""

NO_FRAME = (errno.ENOENT, errno.ELOOP)
"""Why an entry of the directory is none: gone again, or a link in a circle. Other errors say nothing of the file."""


def period_s(sampling_fps: float) -> float:
    """Return the time between two frames; 0 for a rate of 0: as fast as possible."""
    return 1.0 / sampling_fps if sampling_fps else 0.0


def next_due(due: float, now: float, period_s: float) -> float:
    """Return when the next frame is due, after one that was due at `due` is taken at `now`.

    A little late keeps the schedule; after a pause it begins anew, so that no two frames come at once.
    """
    return (due if now - due < period_s else now) + period_s


class DirectorySource:
    """Puts the images of a directory into a queue, each once, at the sampling rate at most.

    With `latest_only` it takes the newest one each time it looks, and passes the others over without reading them.
    """

    def __init__(
        self,
        directory: Path,
        queue: FrameQueue,
        *,
        ledger: FrameLedger,
        latest_only: bool = False,
        sampling_fps: float,
        done: set[KnownFrame],
        first_number: int,
        exit_when_drained: bool,
    ) -> None:
        check_directory(directory)
        self._directory = directory
        self._queue = queue
        self._ledger = ledger
        self._latest_only = latest_only
        self._period_s = period_s(sampling_fps)
        self._taken = TakenFiles(done)
        self._next_number = first_number
        self._exit_when_drained = exit_when_drained
        self._reader = ImageReader(directory)
        self._present_taken: list[str] = []
        self._watched = True
        self._readable = True
        self._readable_since = time.monotonic()
        self._last_error: str | None = None
        self._wall_ahead_s = time.time() - time.monotonic()
        self._wall_stepped = False
        self._unripe: dict[ImageFile, float] = {}
        self.first_data: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        """The first image's bytes, to profile with. Never set for a directory that stays empty."""
        self.looks = 0
        """How often it has looked for files or tried to read one: it grows as long as the source is alive."""

    def set_rate(self, fps: float) -> None:
        """Take this many frames per second from now on."""
        self._period_s = period_s(fps)

    @property
    def state(self) -> SourceState:
        flows = self._readable and self._reader.trouble is not Trouble.DISK
        condition = SourceCondition.FLOWING if flows else SourceCondition.WAITING
        return SourceState(
            kind="directory",
            name=str(self._directory),
            condition=condition,
            for_s=time.monotonic() - self._readable_since,
            last_error=self._last_error,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Feed the queue until `stop` is set, or until the directory is drained if that ends the run.

        A share that hangs holds it, but not its cancellation, nor the end of the process.
        """
        disk = DiskThread("source")  # asyncio's own threads would be waited for at the end
        try:
            await self._feed(disk, stop)
        finally:
            disk.stop(timeout_s=0.0)
        await self._queue.put(None)

    async def _feed(self, disk: DiskThread, stop: asyncio.Event) -> None:
        next_at = time.monotonic()
        files = self._files(disk, stop)
        async for found in files:
            if not self._latest_only and await _reached(next_at, stop):
                break
            began = time.monotonic()
            image = await self._reader.read(disk, found)
            self.looks += 1
            if image is None:  # gone again before it was read: it was never ours; or not to be read yet
                continue
            next_at = next_due(next_at, began, self._period_s)
            frame = Frame(self._next_number, found, time.perf_counter(), image.data, image.error)
            self._next_number += 1
            self._taken.add(found)
            if frame.error is None and not self.first_data.done():
                self.first_data.set_result(bytes(frame.data))
            self._ledger.note(FrameEvent.SEEN)
            await self._queue.put(frame)
            # What is newest is seen when the next one is due, not a period before.
            if self._latest_only and await _reached(next_at, stop):
                break
        await files.aclose()

    async def _files(self, disk: DiskThread, stop: asyncio.Event) -> AsyncGenerator[ImageFile, None]:
        changes = self._watch(stop)
        try:
            while not stop.is_set():
                ready, unripe = await disk.run(self._look)
                self.looks += 1
                taken_before = self._next_number
                if self._latest_only:
                    ready = self._newest(ready)
                for found in self._reader.begin(ready, self._present_taken):
                    yield found
                    if stop.is_set():
                        return
                    if self._reader.hopeless:
                        break
                if await self._read_again(disk):
                    if self._next_number == taken_before:
                        await _set_within(stop, READ_AGAIN_S)
                elif unripe:
                    await _set_within(stop, STABLE_S / 2)
                elif not ready and self._exit_when_drained:
                    return
                elif not ready:
                    try:
                        await anext(changes, None)
                        self._watched = True
                    except OSError:  # gone before it could be watched; `_look` will say so
                        changes = self._watch(stop)
                        await _set_within(stop, STABLE_S / 2)
                    except (RuntimeError, ExceptionGroup) as error:  # in a group once it watches
                        self._say_unwatched(error)
                        changes = self._watch(stop)
                        await _set_within(stop, LOOK_AGAIN_MS / 1000)
        finally:
            await changes.aclose()

    async def _read_again(self, disk: DiskThread) -> bool:
        """End a round of reading; say whether some of its files are to be read again."""
        waited = self._reader.trouble is Trouble.DISK
        again = await self._reader.end(disk)
        if waited is not (self._reader.trouble is Trouble.DISK):
            self._readable_since = time.monotonic()
        self._last_error = self._reader.last_error if again else self._last_error
        return again

    def _newest(self, ready: list[ImageFile]) -> list[ImageFile]:
        """Return the newest file alone; take note of the others as passed over."""
        by_age = sorted(ready, key=lambda file: (file.mtime_ns, file.name))
        for older in by_age[:-1]:
            self._taken.add(older)
        self._ledger.note(FrameEvent.PASSED_OVER, len(by_age[:-1]))
        return by_age[-1:]

    def _watch(self, stop: asyncio.Event) -> AsyncGenerator[set[watchfiles.main.FileChange], None]:
        return watchfiles.awatch(
            self._directory,
            stop_event=stop,
            rust_timeout=LOOK_AGAIN_MS,
            yield_on_timeout=True,
            recursive=False,
            debounce=50,
            step=20,
        )

    def _say_unwatched(self, error: Exception) -> None:
        """Say once why nothing tells of new files. It is looked at all the same, and watched once it can be."""
        if self._watched:
            cause = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
            log.warning(
                "source directory cannot be watched: new files are seen by looking each second; "
                "fs.inotify.max_user_instances and max_user_watches may be too low",
                path=str(self._directory),
                reason=str(cause),
            )
        self._watched = False

    def _look(self) -> tuple[list[ImageFile], bool]:
        """Return the new whole files in the order of names, and whether some are still being written."""
        ready: list[ImageFile] = []
        unripe = False
        seen: dict[ImageFile, float] = {}
        present: set[ImageFile] = set()
        present_taken: list[str] = []
        unknown: set[str] = set()
        now = time.monotonic()  # a file's own time may lie in the future: cameras without a clock
        told_time = self._wall_clock_holds(now)
        try:
            place = os.stat(self._directory)
            entries = sorted(os.scandir(self._directory), key=lambda entry: entry.name)
        except OSError as error:
            if self._readable:
                log.warning(
                    "source directory cannot be read", path=str(self._directory), reason=error.strerror
                )
                self._readable_since = now
            self._readable = False
            self._last_error = error.strerror
            return [], True
        if not self._readable:
            log.info("source directory can be read again", path=str(self._directory))
            self._readable_since = now
        self._readable = True
        for entry in entries:
            if entry.name.startswith(".") or entry.name.endswith(TEMPORARY):
                continue
            try:
                if not entry.is_file():
                    continue
                stat = entry.stat()
            except OSError as error:
                if error.errno not in NO_FRAME:
                    unknown.add(entry.name)
                continue
            found = ImageFile(entry.name, stat.st_size, stat.st_mtime_ns)
            present.add(found)
            if found in self._taken:
                present_taken.append(found.name)
                continue
            since = seen[found] = self._unripe.get(found, now)
            old = told_time and time.time() - stat.st_mtime >= STABLE_S
            if old or now - since >= STABLE_S or ends_like_an_image(Path(entry.path)):
                ready.append(found)
            else:
                unripe = True
        self._unripe, self._present_taken = seen, present_taken
        listing = Listing((place.st_dev, place.st_ino), frozenset(present), frozenset(unknown))
        self._taken.saw(listing, now)
        return ready, unripe

    def _wall_clock_holds(self, now: float) -> bool:
        """Say whether the time of day has run as our own clock since the start.

        A device that learns the time from the network was in 1970 a moment ago, and what somebody writes just now
        would look old. After a step a file's age is only what we have seen of it.
        """
        if abs(time.time() - now - self._wall_ahead_s) > STABLE_S / 2:
            self._wall_stepped = True
        return not self._wall_stepped


def check_directory(directory: Path) -> None:
    """Raise `ConfigurationError` unless `directory` is one."""
    if not directory.is_dir():
        what = "is not a directory" if directory.exists() else "does not exist"
        raise ConfigurationError(
            f"CLEAVE_EDGE_SOURCE={directory}: {what}; create it, or name a directory of images or a video"
        )


async def _reached(at: float, stop: asyncio.Event) -> bool:
    """Wait until `at` (monotonic); say whether `stop` was set before."""
    wait_s = at - time.monotonic()
    return wait_s > 0 and await _set_within(stop, wait_s)


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
