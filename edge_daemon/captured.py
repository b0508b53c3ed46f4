"""A frame in the capturing process, and what comes before and after capturing: quick to import."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass

from common import limits
from common.errors import SourceError
from edge_daemon.capture_job import CaptureJob
from edge_daemon.sampling import is_sampled


class UnusableError(SourceError):
    """What is opened can be no source."""


@dataclass(frozen=True, slots=True)
class Captured:
    """A frame in the capturing process.

    `position_s` is the time on the source's clock, None where it tells none that can be relied on. `jpeg` makes the
    frame's bytes: only of those that are taken. It raises `ValueError` for a damaged one, or one that is too small.
    """

    index: int
    position_s: float | None
    arrived_at: float
    jpeg: Callable[[], bytes]


def connect_first(host: tuple[str, int]) -> None:
    """See whether anybody listens at `host`: quickly, for cameras that are away are looked for often."""
    try:
        socket.create_connection(host, limits.CAPTURE_CONNECT_S).close()
    except OSError as error:
        raise SourceError(f"{host[0]} port {host[1]}: {error.strerror or error}") from None


class Selection:
    """Which frames of a video are wanted: those that are not done, thinned to the sampling rate. Asked in order."""

    def __init__(self, job: CaptureJob) -> None:
        self._thin_to_fps = job.thin_to_fps
        self._ranges = iter(job.skip)
        self._skip = next(self._ranges, None)
        self._before_s: float | None = None

    def takes(self, frame: Captured) -> bool:
        position_s = frame.position_s or 0.0
        sampled = is_sampled(position_s, self._before_s, self._thin_to_fps)
        self._before_s = position_s
        while self._skip is not None and self._skip[1] < frame.index:
            self._skip = next(self._ranges, None)
        return sampled and not (self._skip is not None and self._skip[0] <= frame.index)
