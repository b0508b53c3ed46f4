"""What became of the frames that edges sent: counted by outcome, so that they add up.

received = in_flight + answered + every way in which a frame can fail here
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from common.rate import Rate
from common.wire.tensors import TensorEntry


class Outcome(StrEnum):
    """How a frame's stay at the cloud ended."""

    ANSWERED = "answered"
    NOT_PREPARED = "not_prepared"
    """Its plan is none of those that this session has ready."""
    NOT_RECEIVED = "not_received"
    """There was no memory for its tensors, or they came in too slowly."""
    OVER_CREDIT = "over_credit"
    """The edge had as many here as it may."""
    NO_PLACE = "no_place"
    """The queue was full, or another edge needed the place more."""
    LATE = "late"
    """Its deadline had passed before its turn."""
    FRAME_AT_FAULT = "frame_at_fault"
    FAILED = "failed"
    EDGE_GONE = "edge_gone"
    """The connection ended before its answer."""


@dataclass(frozen=True, slots=True)
class Served:
    """Where an answered frame's time went, in ms, and how many frames ran with it."""

    receive_ms: float
    queue_ms: float
    run_ms: float
    batch: int


class FrameTally:
    """The counts of one daemon. For the event loop only."""

    def __init__(self) -> None:
        self.observers: list[Callable[[Served], None]] = []
        """Each is told of every answered frame, and must be quick."""
        self.received = 0
        self.outcomes: Counter[Outcome] = Counter()
        self.received_bytes: Counter[str] = Counter()
        """Of crossing tensors, by what they were sent as."""
        self.batches: Counter[int] = Counter()
        """Frames by how many ran together, themselves included."""

    def came(self, tensors: Sequence[TensorEntry]) -> None:
        """Take note of a frame with these tensors."""
        self.received += 1
        for entry in tensors:
            self.received_bytes[family(entry.codec)] += entry.nbytes

    def ended(self, outcome: Outcome) -> None:
        """Take note of what became of a frame."""
        self.outcomes[outcome] += 1

    def turned_away(self, tensors: Sequence[TensorEntry], outcome: Outcome) -> None:
        """Take note of a frame that was not let in."""
        self.came(tensors)
        self.ended(outcome)

    def served(self, served: Served) -> None:
        """Take note of how an answered frame fared."""
        self.batches[served.batch] += 1
        for observe in self.observers:
            observe(served)

    @property
    def in_flight(self) -> int:
        return self.received - self.outcomes.total()


class EdgeTally:
    """What one connected edge has been answered. `since` is in Unix seconds."""

    def __init__(self) -> None:
        self.since = time.time()
        self.answered = 0
        self.rate = Rate(time.monotonic())

    def note(self) -> None:
        """Take note of an answer."""
        self.answered += 1
        self.rate.note(time.monotonic())


def family(codec: str) -> str:
    """Return a codec without its quality: what a peer may choose from hundreds of would be as many metrics."""
    return codec if codec.startswith(("int8", "f16")) else codec.rstrip("0123456789")
