"""Logs what anybody may cause at any rate, seldom enough that nobody can fill the disk with it."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

log = structlog.get_logger()

COMPLAIN_S = 10.0
"""What came to nothing is logged this often at most: anybody can cause as much of it as he likes."""


class Complaints:
    """Logs each event once in `COMPLAIN_S`, with how many were left out before."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next: dict[str, float] = {}
        self._unsaid: dict[str, int] = {}

    def say(self, event: str, **what: object) -> None:
        """Log `event`, one of a few fixed ones, or count it for the next one that is logged."""
        now = self._clock()
        if now < self._next.get(event, now):
            self._unsaid[event] = self._unsaid.get(event, 0) + 1
            return
        self._next[event] = now + COMPLAIN_S
        unsaid = self._unsaid.pop(event, 0)
        log.warning(event, **what, **({"unsaid_before": unsaid} if unsaid else {}))
