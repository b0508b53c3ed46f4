"""When a camera's frames were captured, by the camera's own clock as far as that can be known here.

A frame tells its position on the camera's clock. How far that clock is behind ours is not known, but the frame that
came quickest bounds it: every frame was captured before it came. So what the network held up for some seconds, and
sent in one burst, is known to be old.

Cameras' clocks are set, and some are wrong. A burst is over soon; frames that seem late again and again are taken as
they come.
"""

from __future__ import annotations

from collections import deque

WINDOW_S = 60.0
"""The quickest frame of so many seconds counts: two clocks drift apart by milliseconds in this time."""
LATE_S = 1.0
LONGEST_BURST_S = 10.0
"""Frames that seem late by more than `LATE_S` for longer than this are no burst: the camera's clock was set."""


class CaptureClock:
    """Turns frames' positions into times of capture. All times are of one monotonic clock, in seconds."""

    def __init__(self) -> None:
        self._quickest: deque[tuple[float, float]] = deque()
        self._last_position_s: float | None = None
        self._late_since: float | None = None

    def captured_at(self, arrived_at: float, position_s: float | None) -> float:
        """Return when the frame that arrives at `arrived_at` was captured, less the least delay of late.

        `position_s` is the camera's time; None when it tells none: the frame counts as captured when it came.
        """
        if position_s is None:
            return arrived_at
        offset_s = arrived_at - position_s
        went_back = self._last_position_s is not None and position_s < self._last_position_s
        self._last_position_s = position_s
        while self._quickest and self._quickest[0][0] < arrived_at - WINDOW_S:
            self._quickest.popleft()
        if went_back or self._late_for_too_long(arrived_at, offset_s):
            self._quickest.clear()
            self._late_since = None
        # Offsets rise from left to right: one that is beaten by a later one is never the least again.
        while self._quickest and self._quickest[-1][1] >= offset_s:
            self._quickest.pop()
        self._quickest.append((arrived_at, offset_s))
        return position_s + self._quickest[0][1]

    def _late_for_too_long(self, arrived_at: float, offset_s: float) -> bool:
        if not self._quickest or offset_s - self._quickest[0][1] <= LATE_S:
            self._late_since = None
            return False
        if self._late_since is None:
            self._late_since = arrived_at
        return arrived_at - self._late_since > LONGEST_BURST_S
