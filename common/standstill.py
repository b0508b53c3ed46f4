"""Whether a daemon's work goes on: what moves, what has nothing to do, and what stands still. Decisions only.

A part of a daemon (the frames' way, the source, the compute thread) tells a number that changes whenever it has got
something done, and whether it has anything to do at all. The watchdog is fed while no part that has something to do
stands still. No timer alone feeds it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PartSeen:
    """A part of a daemon as it is seen at one moment.

    `done` changes whenever it gets something done; `busy` says whether it has something to do. It may take up to
    `most_s` for one thing.
    """

    name: str
    done: int
    busy: bool
    most_s: float


class Standstill:
    """Remembers since when each part has not moved. The clock is the caller's."""

    def __init__(self) -> None:
        self._done: dict[str, int] = {}
        self._moved_at: dict[str, float] = {}

    def look(self, parts: Iterable[PartSeen], now: float) -> str | None:
        """Take note of the parts at `now`, in seconds; return what stands still, in words, or none."""
        still = []
        for part in parts:
            if not part.busy or self._done.get(part.name) != part.done:
                self._done[part.name] = part.done
                self._moved_at[part.name] = now
            for_s = now - self._moved_at[part.name]
            if for_s > part.most_s:
                still.append(f"{part.name} for {for_s:.0f} s")
        return ", ".join(still) or None
