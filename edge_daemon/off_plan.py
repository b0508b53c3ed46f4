"""Whether the link has become another one than was planned with, so that the next interval is not waited for."""

from __future__ import annotations

import math

FAR_OFF = 1.5
"""A bandwidth this many times higher or lower than planned with is looked at at once …"""
OFF_AGAIN = 1.15
"""… and this many times within an interval after one: what was found first was of the link before, too."""
LEAST_PAUSE_S = 1.0
"""Between two looks for that reason; one that is far off waits for none that was not."""


class OffPlan:
    """Remembers when the plan was looked at out of turn. Times are any monotonic clock's, in s."""

    def __init__(self, interval_s: float) -> None:
        """`interval_s` is that of the looks in turn."""
        self._interval_s = interval_s
        self._far_off_at = self._told_at = -math.inf

    def found(self, planned_bps: float | None, found_bps: float | None, now: float) -> bool:
        """Say whether to look at the plan now, which was made for `planned_bps`."""
        if not planned_bps or not found_bps:
            return False
        off = max(found_bps / planned_bps, planned_bps / found_bps)
        if off >= FAR_OFF:
            if now - self._far_off_at < LEAST_PAUSE_S:
                return False
            self._far_off_at = now
        elif (
            off < OFF_AGAIN
            or now - self._far_off_at >= self._interval_s
            or now - self._told_at < LEAST_PAUSE_S
        ):
            return False
        self._told_at = now
        return True
