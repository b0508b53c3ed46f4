"""How busy the cloud is with other edges: what it says with its answers, and with its pongs.

    answers ──► what frames of this edge did wait for others'   ─┐
    pongs   ──► what they would wait, at this edge's rate        ├─► the wait that is planned with
    left    ──► the wait that this edge gave way to, for a while ┘

The cloud gives all edges as much time. One that wants less than its part is served soon, and waits for the batch that
runs; one that wants more waits for the others' parts, frame by frame.

An edge that leaves a busy cloud makes it less busy. Were that believed at once, it would return, and leave again; and
two such edges would do so in step. So the wait it left for holds on for a time that doubles with each leaving, and is
not the same for all.
"""

from __future__ import annotations

import random
import statistics
from collections import deque
from dataclasses import dataclass

from edge_daemon.back_off import BackOff, Waits

RECENT = 30
"""Answers, and pongs, that count."""
ANSWERS_STALE_S = 5.0
"""Answers older than this are no news; a pong comes each second."""
PONGS_STALE_S = 10.0
FEWEST_ANSWERS = 5
AWAY = Waits(first_s=5.0, longest_s=60.0, forgiven_s=120.0)
"""How long to believe in a busy cloud after having left it …"""
UNLIKE = (0.8, 1.2)
"""… times a number in between: two edges do not return in step."""


@dataclass(frozen=True, slots=True)
class AnsweredWait:
    """How long others' frames held up one of this edge that was answered, in ms; `at` in seconds."""

    ms: float
    at: float


@dataclass(frozen=True, slots=True)
class ExpectedWait:
    """How long they would hold up one that came now, and each of an endless line, in ms."""

    ms: float
    in_line_ms: float
    at: float

    def at_rate(self, rate_fps: float | None) -> float:
        """The wait of an edge that sends so many frames per second; none: as many as it can."""
        modest = rate_fps is not None and self.in_line_ms * rate_fps < 1000.0
        return self.ms if modest else self.in_line_ms


class CloudLoad:
    """The wait at the cloud that others cause an edge of some rate. Times are any one monotonic clock's, in s."""

    def __init__(self, rate_fps: float | None, rng: random.Random | None = None) -> None:
        self._rate_fps = rate_fps
        self._rng = rng or random.Random()
        self._answers: deque[AnsweredWait] = deque(maxlen=RECENT)
        self._pongs: deque[ExpectedWait] = deque(maxlen=RECENT)
        self._left_ms = 0.0
        self._away = BackOff(AWAY)

    def add(self, sample: AnsweredWait | ExpectedWait) -> None:
        """Take note of what the cloud says."""
        if isinstance(sample, AnsweredWait):
            self._answers.append(sample)
        else:
            self._pongs.append(sample)

    def left(self, wait_ms: float, now: float) -> None:
        """Take note that this edge leaves the cloud because of `wait_ms`."""
        self._left_ms = wait_ms
        self._away.let_down(now, self._rng.uniform(*UNLIKE))
        self._answers.clear()

    def forget(self) -> None:
        """Forget what was said: the link was gone. What this edge gave way to holds on."""
        self._answers.clear()
        self._pongs.clear()

    def wait_ms(self, now: float) -> float:
        """Return the wait to plan with; 0 while nothing is known."""
        said_ms = self._said_ms(now)
        if self._away.holds(now):
            return max(said_ms, self._left_ms)
        return said_ms

    def _said_ms(self, now: float) -> float:
        """By the answers while there are any: frames that did wait outweigh one that would."""
        answers = [sample.ms for sample in self._answers if now - sample.at <= ANSWERS_STALE_S]
        if len(answers) >= FEWEST_ANSWERS:
            # Frames that one turn serves together share its wait unevenly, so their mean counts; a hiccup does not.
            return statistics.fmean(sorted(answers)[:-1])
        pongs = [sample.at_rate(self._rate_fps) for sample in self._pongs if now - sample.at <= PONGS_STALE_S]
        return statistics.median(pongs) if pongs else 0.0
