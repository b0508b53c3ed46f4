"""A scheduler on a rack: frames, a clock, and edges in a closed loop."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from cloud_daemon.frame_scheduler import FrameScheduler

FRAME_S = 0.010
FOREVER = 1e9


@dataclass(frozen=True, eq=False)
class Key:
    """Frames that may run together: in whatever number up to `most`."""

    most: int = 1
    wanted: list[int] = field(default_factory=list)

    def want(self, count: int) -> None:
        self.wanted.append(count)

    def best(self, available: int, now: float) -> int:
        return max(1, min(self.most, available))


@dataclass(frozen=True, eq=False)
class Frame:
    edge: str
    key: Key = field(default_factory=Key)
    deadline: float = FOREVER
    number: int = 0


def scheduler(batch_max: int = 8, wait_s: float = 0.0, places: int = 64) -> FrameScheduler[Frame]:
    return FrameScheduler(batch_max=batch_max, batch_wait_s=wait_s, places=places)


class Rack:
    """A scheduler, a clock, and edges in a closed loop that send a frame for each that was done."""

    def __init__(self, queue: FrameScheduler[Frame]) -> None:
        self.queue = queue
        self.now = 100.0
        self.served: Counter[str] = Counter()
        self.held_s: dict[str, list[float]] = {}
        self.batches: list[tuple[str, ...]] = []

    def offer(self, frame: Frame) -> bool:
        return self.queue.offer(frame, self.now).taken

    def turn(self, took_s: float | None = None, *, again: bool = True) -> tuple[Frame, ...]:
        """Run one batch, in `took_s`, by default half as long for each frame as alone; its edges send again."""
        batch = self.queue.next(self.now).batch
        assert batch
        alone = FRAME_S
        whole = took_s if took_s is not None else alone * (1 + len(batch)) / 2
        self.now += whole
        for frame, held in zip(
            batch, self.queue.done(self.now, [min(alone, whole)] * len(batch)), strict=True
        ):
            self.held_s.setdefault(frame.edge, []).append(held)
            self.served[frame.edge] += 1
            if again:
                assert self.offer(Frame(frame.edge, frame.key))
        self.batches.append(tuple(frame.edge for frame in batch))
        return batch
