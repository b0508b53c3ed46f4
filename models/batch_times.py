"""Which batch sizes are worth running, by what they were measured to take."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Sequence

RECENT = 5
"""Runs of a size that its time is the median of: a size that has become slow is left after three."""
GAIN = 0.02
"""A larger batch must save this share of the time per frame: it keeps its first frame waiting."""
LONGEST_MS = 250.0
"""A batch is not interrupted, so none may take longer: other edges' frames wait behind it."""
STALE_S = 60.0
"""What a size took so long ago is no reason to leave it: the machine may have been slow just then. Frames that wait
anyway try it once more."""


def batch_sizes(most: int) -> tuple[int, ...]:
    """Return the sizes that are measured and used: the powers of two up to `most`."""
    return tuple(2**power for power in range(most.bit_length()) if 2**power <= most)


class BatchTimes:
    """What batches of one segment took lately, in ms by size. `now` is of any one monotonic clock, in seconds."""

    def __init__(self) -> None:
        self._recent: dict[int, deque[tuple[float, float]]] = {}
        self._ms: dict[int, float] = {}
        """Their medians, which each turn asks for several times."""
        self._before: deque[float] = deque(maxlen=RECENT)
        self._before_ms = 0.0
        self._most = 2**30

    def add(self, size: int, ms: float, now: float) -> None:
        """Take note of a run of `size` frames that has ended; what is stale by now is forgotten."""
        recent = self._recent.setdefault(size, deque(maxlen=RECENT))
        while recent and recent[0][0] <= now - STALE_S:
            recent.popleft()
        recent.append((now, ms))
        self._ms[size] = statistics.median(took for _, took in recent)

    def add_before(self, ms: Sequence[float]) -> None:
        """Take note of what frames took before their batch, each by itself: decoding, pre-processing."""
        self._before.extend(ms)
        self._before_ms = statistics.median(self._before) if self._before else 0.0

    def refuse(self, size: int) -> None:
        """Never run so many frames again: it has failed (no memory, say) where fewer did not."""
        self._most = min(self._most, size - 1)

    def ms(self, size: int) -> float | None:
        """What `size` frames take at once; none if that was never measured."""
        return self._ms.get(size)

    def best(self, available: int, now: float) -> int:
        """Return how many of `available` frames to run at once: the measured size of least time per frame.

        Of sizes that are about as good it is the smallest. One is always possible. A size of which nothing new is
        known comes first, the smallest of them.
        """
        if available <= 1:
            return 1
        sizes = [size for size in sorted(self._recent) if size <= min(available, self._most)]
        for size in sizes:
            if self._is_stale(size, now) and self._may_be_tried(size):
                return size
        measured = [(size, ms) for size in sizes if (ms := self.ms(size)) is not None]
        usable = [(size, ms / size) for size, ms in measured if size == 1 or self._is_short(size, ms)]
        least = min((per_frame for _, per_frame in usable), default=0.0)
        return next((size for size, per_frame in usable if per_frame * (1 - GAIN) <= least), 1)

    def _is_stale(self, size: int, now: float) -> bool:
        return self._recent[size][-1][0] <= now - STALE_S

    def _may_be_tried(self, size: int) -> bool:
        """Say whether a size would not take too long, by its half, which was tried before it if it was stale."""
        half = size // 2
        half_ms = self.ms(half)
        return size == 1 or (half_ms is not None and self._is_short(size, half_ms * size / half))

    def _is_short(self, size: int, ms: float) -> bool:
        return ms + size * self._before_ms <= LONGEST_MS

    def alone_share(self, size: int) -> float:
        """Return which share of the time of `size` frames one of them would have taken alone."""
        if size == 1:
            return 1.0
        one, all_of_them = self.ms(1), self.ms(size)
        if one is None or not all_of_them:
            return 1.0
        return min(one / all_of_them, 1.0)
