"""What to do about a camera that gives no frames: when to end its process, and when to start the next one. Pure."""

from __future__ import annotations

import random

from common import limits


def stalled(waiting_s: float, stall_s: float) -> str | None:
    """Say why a process that has given no frame for `waiting_s` is to be ended; None: it is to go on."""
    return f"no frame in {stall_s:g} s" if waiting_s >= stall_s else None


def failures_after(failures: int, flowing_s: float) -> int:
    """Return how many attempts have failed in a row, after one whose frames came for `flowing_s`."""
    return 1 if flowing_s >= limits.CAPTURE_HEALTHY_S else failures + 1


def restart_delay_s(failures: int, rng: random.Random) -> float:
    """Return how long to wait before the next attempt, after so many failures in a row.

    The first comes soon, as most cameras that go are back at once; and never two edges of one camera in step.
    """
    if failures <= 1:
        return rng.uniform(0.0, limits.CAPTURE_RETRY_FIRST_S)
    delay_s = limits.CAPTURE_RETRY_FIRST_S * limits.CAPTURE_RETRY_FACTOR ** (failures - 1)
    return min(delay_s, limits.CAPTURE_RETRY_MAX_S) * rng.uniform(0.8, 1.2)
