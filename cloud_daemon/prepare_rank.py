"""Whether what an edge has prepared goes before all frames, or behind them: by what its preparing took lately."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from models.compute import Patience

Result = TypeVar("Result")

SHARE_S = 1.0
"""So much of the thread's time an edge's preparing may take before everybody's frames …"""
WITHIN_S = 10.0
"""… in so long. A plan and one to stand by take a few runs of the network; who names ever new stages has a tenth."""


class PrepareRank:
    """What one edge's preparing took lately. `now` is of any one monotonic clock, in seconds."""

    def __init__(self) -> None:
        self._took: deque[tuple[float, float]] = deque()

    def note(self, now: float, took_s: float) -> None:
        """Take note of what preparing a stage took, whether it came off or not."""
        self._took.append((now, took_s))

    def patience(self, now: float) -> Patience:
        """Return the rank of a stage that is to be prepared now."""
        while self._took and self._took[0][0] <= now - WITHIN_S:
            self._took.popleft()
        spent_s = sum(took_s for _, took_s in self._took)
        return Patience.PREPARE if spent_s < SHARE_S else Patience.MEASURE

    def timed(self, prepare: Callable[..., Result], *arguments: Any) -> Result:
        """Run `prepare(*arguments)` and take note of its time."""
        began = time.perf_counter()
        try:
            return prepare(*arguments)
        finally:
            ended = time.perf_counter()
            self.note(ended, ended - began)
