"""How busy the cloud is with other edges: what it says with its answers, and with its pongs.

    answers ──► what frames of this edge did wait for others'   ─┐
    pongs   ──► what one would wait that came now                ├─► the wait that is planned with
    left    ──► the wait that this edge gave way to, for a while ┘

An edge that leaves a busy cloud makes it less busy. Were that believed at once, it would return, and leave again; and
two such edges would do so in step. So the wait it left for holds on for a time that doubles with each leaving, and is
not the same for all.
"""

from __future__ import annotations

import random
import statistics
from collections import deque
from dataclasses import dataclass

RECENT = 30
"""Answers, and pongs, that count."""
ANSWERS_STALE_S = 5.0
"""Answers older than this are no news; a pong comes each second."""
PONGS_STALE_S = 10.0
FEWEST_ANSWERS = 5
FIRST_AWAY_S = 5.0
LONGEST_AWAY_S = 60.0
LEAVINGS_KEPT_S = 120.0
"""An edge that has not left for this long gives way as shortly as at first."""


@dataclass(frozen=True, slots=True)
class WaitSample:
    """How long others' frames hold up one of this edge, in ms; `answered`: did, and not would. `at` in seconds."""

    ms: float
    at: float
    answered: bool


def away_s(leavings: int, rng: random.Random) -> float:
    """Return how long to believe in a busy cloud after having left it `leavings` times of late."""
    return min(FIRST_AWAY_S * 2.0 ** (leavings - 1), LONGEST_AWAY_S) * rng.uniform(0.8, 1.2)


class CloudLoad:
    """The wait at the cloud that others cause. Times of `at` and `now` are any one monotonic clock's."""

    def __init__(self, rng: random.Random | None = None) -> None:
        self._rng = rng or random.Random()
        self._answers: deque[WaitSample] = deque(maxlen=RECENT)
        self._pongs: deque[WaitSample] = deque(maxlen=RECENT)
        self._leavings: list[float] = []
        self._left_ms = 0.0
        self._away_until: float | None = None

    def add(self, sample: WaitSample) -> None:
        """Take note of what the cloud says."""
        (self._answers if sample.answered else self._pongs).append(sample)

    def left(self, wait_ms: float, now: float) -> None:
        """Take note that this edge leaves the cloud because of `wait_ms`."""
        self._leavings = [at for at in self._leavings if now - at < LEAVINGS_KEPT_S] + [now]
        self._left_ms = wait_ms
        self._away_until = now + away_s(len(self._leavings), self._rng)
        self._answers.clear()

    def forget(self) -> None:
        """Forget what was said: the link was gone. What this edge gave way to holds on."""
        self._answers.clear()
        self._pongs.clear()

    def wait_ms(self, now: float) -> float:
        """Return the wait to plan with; 0 while nothing is known."""
        said_ms = self._said_ms(now)
        if self._away_until is not None and now < self._away_until:
            return max(said_ms, self._left_ms)
        return said_ms

    def _said_ms(self, now: float) -> float:
        """By the answers while there are any: frames that did wait outweigh one that would."""
        answers = [sample.ms for sample in self._answers if now - sample.at <= ANSWERS_STALE_S]
        if len(answers) >= FEWEST_ANSWERS:
            # Frames that one turn serves together share its wait unevenly, so their mean counts; a hiccup does not.
            return statistics.fmean(sorted(answers)[:-1])
        pongs = [sample.ms for sample in self._pongs if now - sample.at <= PONGS_STALE_S]
        return statistics.median(pongs) if pongs else 0.0
