"""Tells the service manager how a daemon fares, for as long as its work goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import structlog

from common.standstill import PartSeen, Standstill
from common.systemd_notify import SystemdNotifier
from models.compute import ComputeThread, Patience

log = structlog.get_logger()

LOOKS_PER_PERIOD = 4
"""A look that comes late must not cost the daemon its life."""
STATUS_S = 5.0
"""How often the status is told where no watchdog waits."""


class ComputePulse:
    """Shows that the compute thread gets to its next job, by one of its own that does nothing."""

    def __init__(self, compute: ComputeThread, most_s: float) -> None:
        """One job may take `most_s` seconds, after which `watchdog.watch` ends the daemon by itself."""
        self._compute = compute
        self._most_s = most_s
        self._done = 0
        self._job = compute.submit(int, patience=Patience.PULSE)

    def seen(self) -> PartSeen:
        """Return how far the thread has come; ask for the next sign of it if this one has come."""
        if self._job.done():
            self._done += 1
            self._job = self._compute.submit(int, patience=Patience.PULSE)
        return PartSeen(name="the compute thread", done=self._done, busy=True, most_s=self._most_s)


async def keep_informed(
    notifier: SystemdNotifier,
    parts: Callable[[], Sequence[PartSeen]],
    status: Callable[[], str],
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Say how the daemon fares, and feed the watchdog as long as no part stands still, until cancelled.

    The event loop is a part, too: while it is blocked nothing is fed.
    """
    if not notifier.heard:
        return
    pause_s = notifier.watchdog_s / LOOKS_PER_PERIOD if notifier.watchdog_s else STATUS_S
    standstill = Standstill()
    still: str | None = None
    while True:
        before, still = still, standstill.look(parts(), clock())
        if still is None:
            notifier.alive()
            notifier.status(status())
        else:
            notifier.status(f"standing still: {still}")
            if before is None:
                log.error("work stands still, the watchdog is fed no more", what=still)
        await asyncio.sleep(pause_s)
