"""Facts about what is done with a camera that gives no frames."""

from __future__ import annotations

import random

from common import limits
from edge_daemon.capture_watch import failures_after, restart_delay_s, stalled


def test_ten_seconds_without_a_frame_are_a_stall() -> None:
    """And the reason says so."""
    assert limits.CAPTURE_STALL_S == 10.0
    assert stalled(9.9, 10.0) is None
    assert stalled(10.0, 10.0) == "no frame in 10 s"
    assert stalled(1.0, 0.5) == "no frame in 0.5 s"


def test_attempts_back_off_up_to_a_limit() -> None:
    """The first is soon; no two edges keep in step; and a camera that is back is found within seconds."""
    rng = random.Random(1)
    for failures in range(1, 50):
        delays = [restart_delay_s(failures, rng) for _ in range(200)]
        assert 0 <= min(delays) < max(delays) <= 1.2 * limits.CAPTURE_RETRY_MAX_S
    means = [sum(restart_delay_s(failures, rng) for _ in range(500)) / 500 for failures in (1, 2, 3, 10)]
    assert means == sorted(means)
    assert means[0] < limits.CAPTURE_RETRY_FIRST_S


def test_frames_that_came_for_long_begin_the_count_anew() -> None:
    """One failure after a day is the first one; one that follows another at once is not."""
    assert failures_after(7, flowing_s=limits.CAPTURE_HEALTHY_S) == 1
    assert failures_after(7, flowing_s=limits.CAPTURE_HEALTHY_S - 0.1) == 8
    assert failures_after(0, flowing_s=0.0) == 1
