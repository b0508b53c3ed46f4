"""How fast a device is now, compared with its profile: what the stages of real frames took.

A profile is taken once; then a fan fails, a neighbour wakes up, a clock throttles. The times of whole stages
under the present plan tell by how much, and the costs of all other cuts are scaled alike.
"""

from __future__ import annotations

import statistics
from collections import deque
from dataclasses import dataclass

RECENT = 15
"""Stages of a cut that its ratio is the median of."""
WIDEST = 100.0
"""No device is believed to be more times slower or faster than profiled: numbers come from the network, too."""
FEWEST = 5
"""Stages that say something; fewer may all have met the same hiccup."""
TELLING = 0.2
"""Share of the whole profile that a stage must make up: what a short one takes is mostly its beginning."""
STALE_S = 60.0
"""After this long without news the profile holds again. A cloud that was too slow to be used is tried anew."""


@dataclass(slots=True)
class _Seen:
    """What a cut's stage took, over what it was profiled at, and when that was last seen."""

    ratios: deque[float]
    newest: float


class Drift:
    """The present speed of one device. Times of `at` and `now` are any one monotonic clock's, in seconds.

    Ratios are kept by cut: what one cut's profile is wrong by is not the device's speed, and taken for it would
    drive the plan away from that cut, and back as soon as another cut's frames have told otherwise.
    """

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def add(self, cut: str, measured_ms: float, profiled_ms: float, whole_ms: float, at: float) -> None:
        """Take note that a stage of `cut`, of `profiled_ms` in a profile of `whole_ms`, took `measured_ms`."""
        if profiled_ms < TELLING * whole_ms or not profiled_ms or not measured_ms:
            return
        seen = self._seen.setdefault(cut, _Seen(deque(maxlen=RECENT), at))
        if at - seen.newest > STALE_S:
            seen.ratios.clear()
        seen.ratios.append(min(max(measured_ms / profiled_ms, 1 / WIDEST), WIDEST))
        seen.newest = at

    def of(self, cut: str, now: float) -> float | None:
        """What the times of `cut` itself are to be multiplied by; none while too little was seen of it."""
        seen = self._seen.get(cut)
        if seen is None or len(seen.ratios) < FEWEST or now - seen.newest > STALE_S:
            return None
        return statistics.median(seen.ratios)

    def known(self, now: float) -> tuple[str, ...]:
        """The cuts of which enough was seen lately."""
        return tuple(cut for cut in self._seen if self.of(cut, now) is not None)

    def scale(self, now: float) -> float:
        """What the profile's times are to be multiplied by: 1.3 says a device that is 30% slower."""
        self._seen = {cut: seen for cut, seen in self._seen.items() if now - seen.newest <= STALE_S}
        told = [statistics.median(s.ratios) for s in self._seen.values() if len(s.ratios) >= FEWEST]
        return statistics.median(told) if told else 1.0

    def forget(self) -> None:
        """Forget all: there is a new profile."""
        self._seen.clear()
