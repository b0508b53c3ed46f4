"""How a source is, for the status: what it is, since when it is so, and what went wrong last."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import structlog

log = structlog.get_logger()


class SourceCondition(StrEnum):
    """What a source is at."""

    OPENING = "opening"
    FLOWING = "flowing"
    WAITING = "waiting"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceState:
    """A source at one moment. `name` has no secrets; `for_s` is how long it has been in its condition, in seconds.

    `fps` is what a camera gives, taken or not; none where that is not known.
    """

    kind: str
    name: str
    condition: SourceCondition
    for_s: float
    restarts: int = 0
    last_error: str | None = None
    fps: float | None = None

    def to_status(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "name": self.name,
            "condition": str(self.condition),
            "for_s": round(self.for_s, 1),
            "restarts": self.restarts,
            "last_error": self.last_error,
            "fps": None if self.fps is None else round(self.fps, 2),
        }


class SourceProgress:
    """Keeps a source's state; `changed` is called when its condition has changed."""

    def __init__(self, kind: str, name: str, changed: Callable[[], None]) -> None:
        self.name = name
        self._kind = kind
        self._changed = changed
        self._condition = SourceCondition.OPENING
        self._since = time.monotonic()
        self._restarts = 0
        self._last_error: str | None = None
        self._rate = FrameRate()

    @property
    def state(self) -> SourceState:
        return SourceState(
            kind=self._kind,
            name=self.name,
            condition=self._condition,
            for_s=time.monotonic() - self._since,
            restarts=self._restarts,
            last_error=self._last_error,
            fps=self._rate.fps() if self._condition is SourceCondition.FLOWING else None,
        )

    def become(self, condition: SourceCondition) -> None:
        if condition is self._condition:
            return
        self._condition = condition
        self._since = time.monotonic()
        if condition is not SourceCondition.FLOWING:
            self._rate = FrameRate()
        self._changed()

    def failed(self, reason: str) -> bool:
        """Take note of why frames have ceased; say whether that is another reason than before."""
        is_news, self._last_error = reason != self._last_error, reason
        self._restarts += 1
        self.become(SourceCondition.WAITING)
        return is_news

    def told(self, now: float, captured: int) -> None:
        """Take note that there were `captured` frames until `now` (monotonic)."""
        self._rate.add(now, captured)
        if captured and self._condition is not SourceCondition.FLOWING:
            log.info("the source gives frames", source=self.name, after_restarts=self._restarts or None)
            self.become(SourceCondition.FLOWING)


class FrameRate:
    """Frames per second of late, from counts that only grow. Times are any one monotonic clock's, in s."""

    WINDOW_S = 5.0

    def __init__(self) -> None:
        self._counts: deque[tuple[float, int]] = deque()

    def add(self, at: float, count: int) -> None:
        """Take note of a count; one that is lower than the last begins anew."""
        if self._counts and count < self._counts[-1][1]:
            self._counts.clear()
        self._counts.append((at, count))
        while len(self._counts) > 2 and self._counts[0][0] < at - self.WINDOW_S:
            self._counts.popleft()

    def fps(self) -> float | None:
        """Return the rate; None before there are two counts."""
        if len(self._counts) < 2:
            return None
        (began, first), (ended, last) = self._counts[0], self._counts[-1]
        return (last - first) / (ended - began) if ended > began else None
