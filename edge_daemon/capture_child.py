"""The process that reads a camera, a stream or a video: it may hang or crash there without harm to anybody.

    python -m edge_daemon.capture_child DAEMON_PID SOCKET

A thread reads all the time, so that no camera has to wait; what nobody takes is dropped. With `every` it waits.

    thread: capture ──► FrameSlot, one frame ──► main: as a JPEG to the daemon, when it asks
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from common import limits
from common.child_process import end_with_parent
from common.errors import CleaveError
from common.hidden import hide_secrets
from edge_daemon.capture_clock import CaptureClock
from edge_daemon.capture_job import LENGTH, CaptureJob, Ended, Shot, Told, pack
from edge_daemon.captured import Captured, Selection, UnusableError, connect_first
from edge_daemon.source_address import SourceKind

TELL_S = 0.5
"""How often the daemon is told that frames come."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A frame, and when it was captured (monotonic)."""

    frame: Captured
    captured_at: float


class FrameSlot:
    """Room for one frame, between two threads. A newer one takes its place, or with `every` waits for it."""

    def __init__(self, every: bool) -> None:
        self._every = every
        self._waiting: Waiting | None = None
        self._changed = threading.Condition()
        self.captured = 0
        self.passed_over = 0
        self._resting = False
        self.ended: Ended | None = None

    def saw_frame(self) -> None:
        """Count a frame, wanted or not."""
        self.captured += 1

    def rest(self, seconds: float) -> None:
        """Wait for the time of a video's next frame."""
        self._resting = True
        time.sleep(seconds)
        self._resting = False

    def put(self, frame: Captured, captured_at: float) -> None:
        with self._changed:
            while self._every and self._waiting is not None:
                self._changed.wait()
            self.passed_over += self._waiting is not None
            self._waiting = Waiting(frame, captured_at)
            self._changed.notify_all()

    def end(self, ended: Ended) -> None:
        with self._changed:
            self.ended = ended
            self._changed.notify_all()

    @property
    def drained(self) -> bool:
        """Whether there is nothing to take, and never will be."""
        return self.ended is not None and not (self._every and self._waiting is not None)

    def take(self, timeout_s: float, oldest_at: float) -> Waiting | None:
        """Return the frame; None when there is none in time, or it is from before `oldest_at` (and dropped)."""
        with self._changed:
            if self._waiting is None and self.ended is None:
                self._changed.wait(timeout_s)
            found, self._waiting = self._waiting, None
            if found is not None and found.captured_at < oldest_at:
                self.passed_over += 1
                found = None
            self._changed.notify_all()
        return found

    def told(self) -> Told:
        with self._changed:
            return Told(self.captured, self.passed_over, self._resting)


def main() -> None:
    end_with_parent(int(sys.argv[1]), most_s=None)
    channel = socket.socket(fileno=int(sys.argv[2]))
    job = CaptureJob.from_json(_exactly(channel, *LENGTH.unpack(_exactly(channel, LENGTH.size))))
    slot = FrameSlot(job.every)
    threading.Thread(target=fill, args=(slot, job), daemon=True).start()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the daemon wants no more
        serve(channel, slot, job)
    os._exit(0)  # not by way of the thread, which may be in the driver's hands


def fill(slot: FrameSlot, job: CaptureJob) -> None:
    """Capture into the slot until the source ends, or fails."""
    clock, selection = CaptureClock(), Selection(job)
    try:
        for frame in _frames(job, slot.rest):
            slot.saw_frame()
            if job.kind is not SourceKind.PATH:
                slot.put(frame, clock.captured_at(frame.arrived_at, frame.position_s))
            elif selection.takes(frame):
                slot.put(frame, frame.arrived_at)
        ended = Ended("the stream ended", finished=True)
    except UnusableError as error:
        ended = Ended(hide_secrets(str(error)), unusable=True)
    except CleaveError as error:
        ended = Ended(hide_secrets(str(error)))
    except Exception as error:  # libraries and drivers: whatever it is, the daemon tells it and tries again
        ended = Ended(hide_secrets(f"{type(error).__name__}: {error}")[:500])
    slot.end(ended)


def _frames(job: CaptureJob, rest: Callable[[float], None]) -> Iterator[Captured]:
    if job.host is not None:
        connect_first(job.host)
    # Only now: a camera that is away is looked for often, and these take a third of a second to import.
    from edge_daemon import capture_picamera, capture_video

    if job.kind is SourceKind.PICAMERA:
        return capture_picamera.capture(job)
    return capture_video.capture(job, rest)


def serve(channel: socket.socket, slot: FrameSlot, job: CaptureJob) -> None:
    """Send a frame whenever the daemon asks, and a sign of life between. Returns when it has hung up."""
    asked = False
    told_at = 0.0
    while True:
        if select.select([channel], [], [], 0 if asked else TELL_S)[0]:
            if not channel.recv(64):
                return
            asked = True
        if asked:
            oldest_at = 0.0 if job.every or job.paced else time.monotonic() - job.max_age_s
            taken = slot.take(TELL_S, oldest_at)
            if taken is not None:
                send(channel, taken)
                asked = False
        if slot.drained:
            slot.take(0.0, oldest_at=math.inf)  # a camera's last frame, if nobody asked for it
            channel.sendall(pack(slot.told()))
            assert slot.ended is not None
            channel.sendall(pack(slot.ended))
            channel.recv(1)  # until it has hung up
            return
        if time.monotonic() - told_at >= TELL_S:
            told_at = time.monotonic()
            channel.sendall(pack(slot.told()))


def send(channel: socket.socket, waiting: Waiting) -> None:
    """Send a frame as a JPEG; one that cannot be made is sent as the reason."""
    jpeg, error = b"", ""
    try:
        jpeg = waiting.frame.jpeg()
    except ValueError as failure:
        error = str(failure)
    if len(jpeg) > limits.MAX_FRAME_BYTES:
        jpeg, error = b"", f"a frame of {len(jpeg)} bytes, {limits.MAX_FRAME_BYTES} are allowed"
    now, time_of_day = time.monotonic(), time.time()
    shot = Shot(
        index=waiting.frame.index,
        captured_at=waiting.captured_at,
        captured_ns=int((time_of_day - (now - waiting.captured_at)) * 1e9),
        position_s=max(waiting.frame.position_s or 0.0, 0.0),
        error=error[: limits.MAX_REASON_CHARS],
    )
    channel.sendall(pack(shot, jpeg))
    channel.sendall(jpeg)


def _exactly(channel: socket.socket, nbytes: int) -> bytes:
    found = b""
    while len(found) < nbytes:
        part = channel.recv(nbytes - len(found))
        if not part:
            sys.exit(0)  # the daemon is gone already
        found += part
    return found


if __name__ == "__main__":
    main()
