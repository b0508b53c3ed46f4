"""How long to do without somebody who has let us down: longer each time, and as at first once that is long ago.

    let down    ▼ ▼         ▼                   ▼
    done without  ├── 5 s ──┤ ├──── 10 s ─────┤ ├────── 20 s …       forgiven when it was used for a while again

A decision on times, in seconds, of any one monotonic clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """`free` times nothing, then `first_s`, and twice as long each time up to `longest_s`.

    Who was not let down for `forgiven_s` after the last wait begins anew.
    """

    first_s: float
    longest_s: float
    forgiven_s: float
    free: int = 0

    def after(self, times: int) -> float:
        """Return how long to wait after having been let down `times` times in a row."""
        if times <= self.free:
            return 0.0
        doubled = min(times - self.free - 1, 32)
        return min(self.first_s * 2.0**doubled, self.longest_s)


class BackOff:
    """Whether to do without, now. The waits themselves count as no time in which it went well."""

    def __init__(self, waits: Waits) -> None:
        self._waits = waits
        self._times = 0
        self._until = -math.inf

    @property
    def ever(self) -> bool:
        """Whether we were ever let down."""
        return self._until > -math.inf

    def let_down(self, now: float, factor: float = 1.0) -> None:
        """Take note of having been let down; the wait is `factor` times as long as usual."""
        if now - self._until >= self._waits.forgiven_s:
            self._times = 0
        self._times += 1
        self._until = now + factor * self._waits.after(self._times)

    def holds(self, now: float) -> bool:
        """Whether to do without still."""
        return now < self._until
