"""Where every frame is: the conservation of frames, as a value and a table of moves.

          ┌────────────────────────────── passed over, replaced ─► dropped_stale
    seen ─┴► waiting ─► in_flight ─► recording ─┬► answered, failed       (their record is on the disk)
                 │          │            │      └► dropped_unrecorded     (latest wins, and no room for it)
                 └──────────┴────────────┴───────► left                   (the run ended; done at the next start)

At every moment `seen` is the sum of all others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import Enum


class CountsError(AssertionError):
    """The counts of frames do not add up: a bug here."""


class FrameEvent(Enum):
    """What can happen to one frame."""

    SEEN = "a source found it, and it waits"
    PASSED_OVER = "a source found it, and a newer one before anybody took it; or it was too old then"
    REPLACED = "a newer one took its place before any work"
    BEGUN = "the pipeline took it"
    PROCESSED = "it has its answer or its error, on the way to the disk"
    ANSWERED = "the record of its answer is on the disk"
    FAILED = "the record of its error is on the disk"
    UNRECORDED = "there was no room for its record, and frames do not wait"


MOVES: Mapping[FrameEvent, tuple[str | None, str]] = {
    FrameEvent.SEEN: (None, "waiting"),
    FrameEvent.PASSED_OVER: (None, "dropped_stale"),
    FrameEvent.REPLACED: ("waiting", "dropped_stale"),
    FrameEvent.BEGUN: ("waiting", "in_flight"),
    FrameEvent.PROCESSED: ("in_flight", "recording"),
    FrameEvent.ANSWERED: ("recording", "answered"),
    FrameEvent.FAILED: ("recording", "failed"),
    FrameEvent.UNRECORDED: ("recording", "dropped_unrecorded"),
}
"""From where each event takes a frame (None: it is new), and where to."""

ON_THE_WAY = ("waiting", "in_flight", "recording")


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameCounts:
    """How many frames were seen, and where they are now. One that does not add up cannot be built.

    Nothing is dropped for the link's sake: a frame that the cloud lets down is finished on the edge.
    """

    seen: int = 0
    waiting: int = 0
    in_flight: int = 0
    recording: int = 0
    answered: int = 0
    failed: int = 0
    dropped_stale: int = 0
    dropped_unrecorded: int = 0
    left: int = 0

    def __post_init__(self) -> None:
        counts = asdict(self)
        negative = [name for name, count in counts.items() if count < 0]
        if negative:
            raise CountsError(f"frames: {', '.join(negative)} below 0: {counts}")
        if self.seen != sum(counts.values()) - self.seen:
            raise CountsError(
                f"frames: {self.seen} seen, {sum(counts.values()) - self.seen} told of: {counts}"
            )

    def after(self, event: FrameEvent, times: int = 1) -> FrameCounts:
        """Return the counts after `event` has happened to `times` frames. Raises `CountsError` if it cannot have."""
        before, to = MOVES[event]
        come_from = "seen" if before is None else before
        step = times if before is None else -times
        return replace(self, **{come_from: getattr(self, come_from) + step, to: getattr(self, to) + times})

    def at_end(self) -> FrameCounts:
        """Return the counts when a run has ended: what was on its way is left for the next one."""
        on_the_way = sum(getattr(self, name) for name in ON_THE_WAY)
        return replace(self, **dict.fromkeys(ON_THE_WAY, 0), left=self.left + on_the_way)

    def as_document(self) -> dict[str, int]:
        """Return the counts by name, as the status shows them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


class FrameLedger:
    """The counts of one run, kept by source, pipeline and results. For the event loop only."""

    def __init__(self) -> None:
        self.counts = FrameCounts()

    def note(self, event: FrameEvent, times: int = 1) -> None:
        """Take note of what happened to a frame, or to each of several."""
        self.counts = self.counts.after(event, times)

    def close(self) -> None:
        """Take note that the run has ended."""
        self.counts = self.counts.at_end()
