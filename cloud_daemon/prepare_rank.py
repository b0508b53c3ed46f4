"""How urgent it is what an edge has prepared: by what its preparing took lately."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from threading import Lock
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from models.compute import Patience

Result = TypeVar("Result")

SHARE_S = 1.0
"""So long an edge's preparing may take half as urgently as everybody's frames (before them, on CUDA) …"""
WITHIN_S = 10.0
"""… in so many seconds. A plan and one to stand by take a few runs of the network; who names ever new stages has a
tenth of the time."""
MOST_EDGES = 1_024
"""Security: names whose preparing is remembered. With one more, the one that prepared longest ago is forgotten."""


class PrepareRank:
    """What one edge's preparing took lately. `now` is of any one monotonic clock, in seconds."""

    def __init__(self) -> None:
        self._took: deque[tuple[float, float]] = deque()

    def note(self, now: float, took_s: float) -> None:
        """Take note of what preparing a stage took, whether it came off or not."""
        self._forget(now)
        self._took.append((now, took_s))

    def patience(self, now: float) -> Patience:
        """Return the rank of a stage that is to be prepared now."""
        self._forget(now)
        spent_s = sum(took_s for _, took_s in self._took)
        return Patience.PREPARE if spent_s < SHARE_S else Patience.MEASURE

    def is_over(self, now: float) -> bool:
        """Say whether all that was noted is too long ago to count."""
        return not self._took or self._took[-1][0] <= now - WITHIN_S

    def _forget(self, now: float) -> None:
        while self._took and self._took[0][0] <= now - WITHIN_S:
            self._took.popleft()


class PrepareRanks:
    """The ranks of all edges, by name: an edge has one, on however many connections, and when it connects anew.

    Notes are made where stages are, ranks asked for on the event loop.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._ranks: OrderedDict[str, PrepareRank] = OrderedDict()
        """Of edges that have prepared something lately, the latest at the end."""
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def __len__(self) -> int:
        return len(self._ranks)

    def turn(self, edge: str) -> asyncio.Lock:
        """Return what an edge's connections take while they have a stage prepared, one after another.

        So the next is ranked by what those before it took. It is there as long as somebody keeps it.
        """
        return self._turns.setdefault(edge, asyncio.Lock())

    def note(self, edge: str, now: float, took_s: float) -> None:
        """See `PrepareRank.note`."""
        with self._lock:
            self._ranks.setdefault(edge, PrepareRank()).note(now, took_s)
            self._ranks.move_to_end(edge)
            while len(self._ranks) > MOST_EDGES or self._oldest().is_over(now):
                self._ranks.popitem(last=False)

    def patience(self, edge: str, now: float) -> Patience:
        """See `PrepareRank.patience`."""
        with self._lock:
            rank = self._ranks.get(edge)
            return Patience.PREPARE if rank is None else rank.patience(now)

    def timed(self, edge: str, prepare: Callable[..., Result], *arguments: Any) -> Result:
        """Run `prepare(*arguments)` and take note of its time."""
        began = time.perf_counter()
        try:
            return prepare(*arguments)
        finally:
            ended = time.perf_counter()
            self.note(edge, ended, ended - began)

    def _oldest(self) -> PrepareRank:
        return next(iter(self._ranks.values()))
