"""What the scheduler of frames speaks of: frames, the line that each edge has of them, the batch that runs, turns.

All times are of any one monotonic clock, in seconds, and all durations in seconds.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar


class BatchKey(Protocol):
    """What frames that may run together share: compared by identity."""

    def want(self, count: int) -> None:
        """Take note that so many frames wait together, or will in a moment."""

    def best(self, available: int, now: float) -> int:
        """How many of `available` frames to run at once, one at least."""
        ...


class Frame(Protocol):
    """What is scheduled."""

    @property
    def edge(self) -> str: ...
    @property
    def key(self) -> BatchKey: ...
    @property
    def deadline(self) -> float: ...


Scheduled = TypeVar("Scheduled", bound=Frame)


@dataclass(frozen=True, slots=True)
class Turn(Generic[Scheduled]):
    """What to do now: run `batch`; tell `late` that their deadline has passed; or look again at `again_at`."""

    batch: tuple[Scheduled, ...] = ()
    late: tuple[Scheduled, ...] = ()
    again_at: float | None = None


@dataclass(frozen=True, slots=True)
class Offer(Generic[Scheduled]):
    """Whether a frame was taken, and which one had to make room for it."""

    taken: bool
    displaced: Scheduled | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """How long other edges' frames would hold up a frame, in s: one that comes now, and each of an endless line."""

    now_s: float
    in_line_s: float


@dataclass(slots=True, eq=False)
class Waiting(Generic[Scheduled]):
    """A frame in its edge's line."""

    frame: Scheduled
    at: float
    others_s: float
    """Other edges' time on the thread, by then."""


@dataclass(slots=True, eq=False)
class EdgeLine(Generic[Scheduled]):
    """An edge's frames that wait, first come first, and what it has had of the thread."""

    waiting: deque[Waiting[Scheduled]] = field(default_factory=deque)
    served_s: float = 0.0
    """Time this edge was served, moved up to the others' level after a pause: whose is least goes first."""
    busy_s: float = 0.0
    """Time this edge was served, as it is."""
    frame_s: float = 0.0
    """What a frame of it costs, lately."""
    others_at_last_s: float = 0.0
    """Other edges' time on the thread when its last frame was done."""
    forgiven_at: float = -math.inf
    """When a frame of it was charged less than it took."""
    last_key: BatchKey | None = None
    last_at: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Running(Generic[Scheduled]):
    """The batch that runs."""

    batch: tuple[Waiting[Scheduled], ...]
    began: float
    others_s: dict[str, float]
    """For each edge in the batch: how long others held up its first frame in line."""
    frames: Counter[str]
    """How many each edge has in the batch."""
