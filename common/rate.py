"""How often something happens, lately: counted by the second, in constant memory."""

from __future__ import annotations

from collections import deque

WINDOW_S = 10


class Rate:
    """Events of the last ten whole seconds. Times are of any one monotonic clock, in seconds."""

    def __init__(self, began: float) -> None:
        self._began = began
        self._seconds: deque[tuple[int, int]] = deque(maxlen=WINDOW_S + 1)

    def note(self, now: float) -> None:
        """Take note of one event."""
        second = int(now)
        if self._seconds and self._seconds[-1][0] == second:
            self._seconds[-1] = (second, self._seconds[-1][1] + 1)
        else:
            self._seconds.append((second, 1))

    def per_second(self, now: float) -> float:
        """Return how many there were a second: in the last ten whole ones, or since the beginning."""
        this = int(now)
        first = max(this - WINDOW_S, int(self._began) + 1)
        if first >= this:
            return 0.0
        return sum(count for second, count in self._seconds if first <= second < this) / (this - first)
