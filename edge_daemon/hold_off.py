"""How long to do without a cloud that let frames down: a decision on times, in s, of any one monotonic clock."""

from __future__ import annotations

import math

KEPT_S = 60.0
"""A cloud that has let no frame down for this long is trusted as at first."""


def hold_off_s(let_downs: int) -> float:
    """Return how long to do without the cloud after it let frames down `let_downs` times in the last minute.

    Once may be an outage; again and again is a cloud or a link that promises more than it holds.
    """
    return 0.0 if let_downs <= 1 else min(5.0 * 2.0 ** min(let_downs - 2, 4), 60.0)


class HoldOff:
    """Whether the cloud is to be left alone for now."""

    def __init__(self) -> None:
        self._let_downs: list[float] = []
        self._until = -math.inf

    @property
    def ever(self) -> bool:
        """Whether the cloud has ever let frames down."""
        return self._until > -math.inf

    def let_down(self, now: float) -> None:
        """Take note that the cloud has gone while frames relied on it."""
        self._let_downs = [at for at in self._let_downs if now - at < KEPT_S] + [now]
        self._until = now + hold_off_s(len(self._let_downs))

    def holds(self, now: float) -> bool:
        """Whether to do without the cloud still."""
        return now < self._until
