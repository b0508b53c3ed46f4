"""How fast a device is now, compared with its profile: what the stages of real frames took.

A profile is taken once; then a fan fails, a neighbour wakes up, a clock throttles. The times of whole stages
under the present plan tell by how much, and the costs of all other cuts are scaled alike.
"""

from __future__ import annotations

import statistics
from collections import deque

RECENT = 15
"""Stages the scale is the median of."""
FEWEST = 5
"""Stages that say something; fewer may all have met the same hiccup."""
TELLING = 0.2
"""Share of the whole profile that a stage must make up: what a short one takes is mostly its beginning."""
STALE_S = 60.0
"""After this long without news the profile holds again. A cloud that was too slow to be used is tried anew."""


class Drift:
    """The present speed of one device. Times of `at` and `now` are any one monotonic clock's, in seconds."""

    def __init__(self) -> None:
        self._ratios: deque[float] = deque(maxlen=RECENT)
        self._newest = 0.0

    def add(self, measured_ms: float, profiled_ms: float, whole_ms: float, at: float) -> None:
        """Take note that a stage of `profiled_ms`, of a profile of `whole_ms`, took `measured_ms`."""
        if profiled_ms < TELLING * whole_ms or not profiled_ms or not measured_ms:
            return
        if at - self._newest > STALE_S:
            self._ratios.clear()
        self._ratios.append(measured_ms / profiled_ms)
        self._newest = at

    def scale(self, now: float) -> float:
        """What the profile's times are to be multiplied by: 1.3 says a device that is 30% slower."""
        if len(self._ratios) < FEWEST or now - self._newest > STALE_S:
            return 1.0
        return statistics.median(self._ratios)

    def forget(self) -> None:
        """Forget all: there is a new profile."""
        self._ratios.clear()
