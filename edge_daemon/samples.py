"""How fast the edge is by what is run apart from frames (`spot_check.py`), put right by what frames tell."""

from __future__ import annotations

import math

from edge_daemon.drift import Drift
from edge_daemon.spot_check import times_as_long

OFF_HOLDS_S = 600.0
"""So long samples are corrected by what frames said of them. They keep a plan that has no such frames, and were the
correction wrong, nothing else would ever tell."""


class Samples:
    """What samples have told in the last minute. `now` is of any one monotonic clock, in seconds."""

    def __init__(self) -> None:
        self._drift = Drift()
        self._off = 1.0
        """How many times too long the samples took, by the stages of frames in the same minute …"""
        self._off_at = -math.inf
        """… at this time. It may have been the device's speed that changed between them."""

    def add(self, cold: float, warm: float, planned: float, now: float) -> None:
        """Take note of what a part took, run alone and at once again, and is planned with, all in one unit."""
        self._drift.add("samples", times_as_long(cold, warm, planned), 1.0, 1.0, now)

    def compare(self, frames: Drift, now: float) -> None:
        """Have the samples say what the stages do: what they are wrong by would drive the plan to and fro."""
        if frames.known(now) and self._drift.known(now):
            self._off, self._off_at = self._drift.scale(now) / frames.scale(now), now

    def scale(self, now: float) -> float | None:
        """Return how many times as long as planned with the edge takes; none where there are no samples."""
        if not self._drift.known(now):
            return None
        return self._drift.scale(now) / (self._off if now - self._off_at <= OFF_HOLDS_S else 1.0)

    def forget(self) -> None:
        """Forget all: it was told in shares of another profile."""
        self._drift.forget()
        self._off, self._off_at = 1.0, -math.inf
