"""Which frames run next, together: a decision on queues and a clock, without threads or tensors.

    edge a  ▢ ▢ ▢ ▢ ─┐
    edge b  ▢ ───────┼─► the edge served least goes first; frames that may run with its frame fill the batch,
    edge c  ▢ ▢ ─────┘   those of the edges served least before others

An edge is charged its share of each batch's time, by what its frames would have taken alone. One that comes back from
a pause starts level with the others: pausing earns no credit (start-time fair queueing: Goyal, Vin, Cheng, SIGCOMM
1996). When all places are taken, the edge that waits with the most frames loses its youngest to one that waits with
fewer (longest queue drop).
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

EXPECTED_S = 1.0
"""A batch is waited for only while another edge has sent a frame that fits it within this time."""
SMOOTHING = 0.2
"""Weight of the newest frame in an edge's cost per frame."""

MOST_TIMES_USUAL = 8.0
FORGIVEN_EVERY_S = 10.0
"""Once in so long a frame is charged no more than so many times what its edge's took lately: the machine stood still.
Charged in full, 0.2 s would keep one of 64 edges from its turn until all the others have had as much each: 13 s.
The next such frame of the edge is charged in full: who sends dear frames among cheap ones pays for them."""

UNKNOWN_S = 0.001
"""What a frame is taken to cost before any has run: something, so that edges take turns from the first batch on."""


class BatchKey(Protocol):
    """What frames that may run together share: compared by identity."""

    def best(self, available: int, now: float) -> int:
        """How many of `available` frames to run at once."""
        ...


class Frame(Protocol):
    """What is scheduled. Times are of any one monotonic clock, in seconds."""

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
class _Waiting(Generic[Scheduled]):
    frame: Scheduled
    at: float
    others_s: float
    """Other edges' time on the thread, by then."""


@dataclass(slots=True, eq=False)
class _Edge(Generic[Scheduled]):
    waiting: deque[_Waiting[Scheduled]] = field(default_factory=deque)
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
class _Running(Generic[Scheduled]):
    batch: tuple[_Waiting[Scheduled], ...]
    began: float
    others_s: dict[str, float]
    """For each edge in the batch: how long others held up its first frame in line."""
    frames: Counter[str]
    """How many each edge has in the batch."""


def shares(run_s: float, alone_s: Sequence[float]) -> list[float]:
    """Divide a batch's time between its frames by what each would have taken alone; evenly if that is not known."""
    whole_s = sum(alone_s)
    if whole_s <= 0:
        return [run_s / len(alone_s)] * len(alone_s)
    return [run_s * one_s / whole_s for one_s in alone_s]


class FrameScheduler(Generic[Scheduled]):
    """The queues of all edges, and what each has had of the thread. One batch runs at a time."""

    def __init__(self, *, batch_max: int, batch_wait_s: float, places: int) -> None:
        self._batch_max = batch_max
        self._batch_wait_s = batch_wait_s
        self._places = places
        self._edges: dict[str, _Edge[Scheduled]] = {}
        self._running: _Running[Scheduled] | None = None
        self.busy_s = 0.0
        """Time for which batches have run so far."""
        self._level_s = 0.0
        """What the edge that was served last had been served before."""

    # --- coming and going -------------------------------------------------------------------------------
    @property
    def waiting(self) -> int:
        return sum(len(edge.waiting) for edge in self._edges.values())

    @property
    def held(self) -> int:
        """Frames here: waiting, or running."""
        return self.waiting + (len(self._running.batch) if self._running else 0)

    def offer(self, frame: Scheduled, now: float) -> Offer[Scheduled]:
        """Take a frame in, if there is a place for it or one can be made."""
        edge = self._edges.setdefault(frame.edge, _Edge())
        displaced = None
        if self.held >= self._places:
            longest = max(self._edges.values(), key=lambda other: len(other.waiting))
            if len(longest.waiting) <= len(edge.waiting) + 1:
                return Offer(False)
            displaced = longest.waiting.pop().frame
        if not edge.waiting and not (self._running and self._running.frames[frame.edge]):
            edge.served_s = max(edge.served_s, self._level_s)
        edge.waiting.append(_Waiting(frame, now, self._others_s(frame.edge, now)))
        edge.last_key, edge.last_at = frame.key, now
        return Offer(True, displaced)

    def gone(self, edge: str) -> None:
        """Forget an edge and its frames."""
        self._edges.pop(edge, None)

    # --- turns ------------------------------------------------------------------------------------------
    def next(self, now: float) -> Turn[Scheduled]:
        """Choose what runs now. After a turn with a batch comes `done`, before the next turn."""
        assert self._running is None, "one batch at a time"
        late = self._take_late(now)
        first = min(
            (edge for edge in self._edges.values() if edge.waiting),
            key=lambda edge: (edge.served_s, edge.waiting[0].at),
            default=None,
        )
        if first is None:
            return Turn(late=late)
        head = first.waiting[0]
        key = head.frame.key
        fitting = sum(w.frame.key is key for edge in self._edges.values() for w in edge.waiting)
        again_at = head.at + self._batch_wait_s
        if now < again_at and self._more_expected(key, fitting, now):
            return Turn(late=late, again_at=again_at)
        self._level_s = first.served_s
        batch = self._fill(key, min(key.best(min(fitting, self._batch_max), now), fitting), head)
        others_s = {}
        for waiting in reversed(batch):  # the first of an edge comes last, and stays
            name = waiting.frame.edge
            since_s = max(waiting.others_s, self._edges[name].others_at_last_s)
            others_s[name] = max(self._others_s(name, now) - since_s, 0.0)
        self._running = _Running(batch, now, others_s, Counter(waiting.frame.edge for waiting in batch))
        return Turn(tuple(waiting.frame for waiting in batch), late)

    def done(self, now: float, alone_s: Sequence[float]) -> list[float]:
        """Take note that the batch is done, and return for each of its frames how long others held it up, in s.

        `alone_s`: what each would have taken by itself. What an edge's own frames before this one took does not
        count. What others' frames added to the batch does; a wait that ended with several frames of an edge in
        one batch is shared between them.
        """
        running, self._running = self._running, None
        assert running is not None
        count, run_s = len(running.batch), max(now - running.began, 0.0)
        held_s: list[float] = []
        for waiting, alone in zip(running.batch, alone_s, strict=True):
            own = running.frames[waiting.frame.edge]
            added_s = max(run_s - alone, 0.0) * (count - own) / max(count - 1, 1)
            held_s.append((running.others_s[waiting.frame.edge] + added_s) / own)
        self.busy_s += run_s
        shares_s: dict[str, float] = dict.fromkeys(running.others_s, 0.0)
        for waiting, share_s in zip(running.batch, shares(run_s, alone_s), strict=True):
            shares_s[waiting.frame.edge] += share_s
        for name, share_s in shares_s.items():
            edge = self._edges.get(name)
            if edge is None:
                continue
            own = running.frames[name]
            frame_s = share_s / own
            most_s = MOST_TIMES_USUAL * (edge.frame_s or self._frame_s())
            if most_s and frame_s > most_s and now - edge.forgiven_at >= FORGIVEN_EVERY_S:
                frame_s, edge.forgiven_at = most_s, now
            edge.served_s += frame_s * own
            edge.busy_s += share_s
            edge.frame_s += (frame_s - edge.frame_s) * (SMOOTHING if edge.frame_s else 1.0)
            edge.others_at_last_s = self._others_s(name, now)
        return held_s

    # --- load -------------------------------------------------------------------------------------------
    def wait(self, edge: str, now: float) -> Wait:
        """Return how long a frame of `edge` would be held up.

        One that comes now waits for the batch that runs, and for edges served less. An edge that always has one in
        line gets as much time as each other that waits: they have what one of its frames takes, before its next.
        """
        own = self._edges.get(edge)
        start_s = max(own.served_s if own is not None else 0.0, self._level_s)
        others = [other for name, other in self._edges.items() if name != edge and other.waiting]
        ahead_s = sum(other.frame_s for other in others if other.served_s < start_s)
        own_s = own.frame_s if own is not None else 0.0
        left_s = self._left_s(edge, now)
        return Wait(left_s + ahead_s, max(left_s, sum(own_s or other.frame_s for other in others)))

    def retry_s(self, edge: str, now: float) -> float:
        """How long until a frame of `edge` that comes then can be expected to find a place."""
        own = self._edges.get(edge)
        frame_s = own.frame_s if own is not None and own.frame_s else self._frame_s()
        return self.wait(edge, now).in_line_s + frame_s

    def _left_s(self, edge: str, now: float) -> float:
        """Others' share of what the running batch will still take, by what its frames took before."""
        if self._running is None:
            return 0.0
        count, own = len(self._running.batch), self._running.frames[edge]
        edges = (self._edges.get(waiting.frame.edge) for waiting in self._running.batch)
        whole_s = sum(one.frame_s for one in edges if one is not None)
        return max(whole_s - (now - self._running.began), 0.0) * (count - own) / count

    def _frame_s(self) -> float:
        known = [edge.frame_s for edge in self._edges.values() if edge.frame_s]
        return sum(known) / len(known) if known else 0.0

    def _others_s(self, edge: str, now: float) -> float:
        """Time for which the thread has run other edges' frames so far."""
        own = self._edges.get(edge)
        others_s = self.busy_s - (own.busy_s if own is not None else 0.0)
        if self._running is not None:
            count = len(self._running.batch)
            others_s += (now - self._running.began) * (count - self._running.frames[edge]) / count
        return others_s

    # --- batches ----------------------------------------------------------------------------------------
    def _take_late(self, now: float) -> tuple[Scheduled, ...]:
        late: list[Scheduled] = []
        for edge in self._edges.values():
            if any(waiting.frame.deadline < now for waiting in edge.waiting):
                late += [waiting.frame for waiting in edge.waiting if waiting.frame.deadline < now]
                edge.waiting = deque(w for w in edge.waiting if w.frame.deadline >= now)
        return tuple(late)

    def _more_expected(self, key: BatchKey, fitting: int, now: float) -> bool:
        """Whether one more frame would make a better batch, and an edge is about to send one."""
        if fitting >= self._batch_max or key.best(self._batch_max, now) <= fitting:
            return False
        return any(
            edge.last_key is key and not edge.waiting and now - edge.last_at < EXPECTED_S
            for edge in self._edges.values()
        )

    def _fill(self, key: BatchKey, size: int, head: _Waiting[Scheduled]) -> tuple[_Waiting[Scheduled], ...]:
        """Take `size` frames of one key off the queues, `head` first, then of the edges served least so far."""
        served_s = {name: edge.served_s for name, edge in self._edges.items()}
        fitting = {
            name: deque(waiting for waiting in edge.waiting if waiting.frame.key is key)
            for name, edge in self._edges.items()
        }
        batch: list[_Waiting[Scheduled]] = []
        taken: _Waiting[Scheduled] | None = head
        while taken is not None:
            name = taken.frame.edge
            batch.append(taken)
            fitting[name].remove(taken)
            self._edges[name].waiting.remove(taken)
            served_s[name] += self._edges[name].frame_s or self._frame_s() or UNKNOWN_S
            if len(batch) == size:
                break
            heads = [queue[0] for queue in fitting.values() if queue]
            taken = min(heads, key=lambda w: (served_s[w.frame.edge], w.at), default=None)
        return tuple(batch)
