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

import heapq
import math
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Generic

from cloud_daemon.frame_lines import BatchKey, EdgeLine, Offer, Running, Scheduled, Turn, Wait, Waiting

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
        self._edges: dict[str, EdgeLine[Scheduled]] = {}
        self._running: Running[Scheduled] | None = None
        self.waiting = 0
        """Frames that wait: counted, since each frame that comes asks."""
        self._none_late_before = math.inf
        """No waiting frame's deadline is earlier."""
        self.busy_s = 0.0
        """Time for which batches have run so far."""
        self._level_s = 0.0
        """What the edge that was served last had been served before."""

    # --- coming and going -------------------------------------------------------------------------------
    @property
    def held(self) -> int:
        """Frames here: waiting, or running."""
        return self.waiting + (len(self._running.batch) if self._running else 0)

    def offer(self, frame: Scheduled, now: float) -> Offer[Scheduled]:
        """Take a frame in, if there is a place for it or one can be made."""
        edge = self._edges.setdefault(frame.edge, EdgeLine())
        displaced = None
        if self.held >= self._places:
            longest = max(self._edges.values(), key=lambda other: len(other.waiting))
            if len(longest.waiting) <= len(edge.waiting) + 1:
                return Offer(False)
            displaced = longest.waiting.pop().frame
            self.waiting -= 1
        if not edge.waiting and not (self._running and self._running.frames[frame.edge]):
            edge.served_s = max(edge.served_s, self._level_s)
        edge.waiting.append(Waiting(frame, now, self._others_s(frame.edge, now)))
        self.waiting += 1
        self._none_late_before = min(self._none_late_before, frame.deadline)
        edge.last_key, edge.last_at = frame.key, now
        return Offer(True, displaced)

    def gone(self, edge: str) -> None:
        """Forget an edge and its frames."""
        gone = self._edges.pop(edge, None)
        self.waiting -= len(gone.waiting) if gone is not None else 0

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
        fitting = {
            name: [waiting for waiting in edge.waiting if waiting.frame.key is key]
            for name, edge in self._edges.items()
            if edge.waiting
        }
        available = sum(map(len, fitting.values()))
        again_at = head.at + self._batch_wait_s
        if now < again_at and self._more_expected(key, available, now):
            return Turn(late=late, again_at=again_at)
        self._level_s = first.served_s
        key.want(min(available, self._batch_max))
        size = key.best(min(available, self._batch_max), now)
        batch = self._take(fitting, None if size == available else size)
        others_s = {}
        for waiting in reversed(batch):  # the first of an edge comes last, and stays
            name = waiting.frame.edge
            since_s = max(waiting.others_s, self._edges[name].others_at_last_s)
            others_s[name] = max(self._others_s(name, now) - since_s, 0.0)
        self._running = Running(batch, now, others_s, Counter(waiting.frame.edge for waiting in batch))
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
        if now <= self._none_late_before:
            return ()
        late: list[Scheduled] = []
        for edge in self._edges.values():
            late += [waiting.frame for waiting in edge.waiting if waiting.frame.deadline < now]
            edge.waiting = deque(w for w in edge.waiting if w.frame.deadline >= now)
        self.waiting -= len(late)
        left = (waiting.frame.deadline for edge in self._edges.values() for waiting in edge.waiting)
        self._none_late_before = min(left, default=math.inf)
        return tuple(late)

    def _more_expected(self, key: BatchKey, fitting: int, now: float) -> bool:
        """Whether one more frame would make a better batch, and an edge is about to send one."""
        expected = sum(
            edge.last_key is key and not edge.waiting and now - edge.last_at < EXPECTED_S
            for edge in self._edges.values()
        )
        if not expected or fitting >= self._batch_max:
            return False
        key.want(min(fitting + expected, self._batch_max))
        return key.best(self._batch_max, now) > fitting

    def _take(
        self, fitting: Mapping[str, Sequence[Waiting[Scheduled]]], size: int | None
    ) -> tuple[Waiting[Scheduled], ...]:
        """Take `size` frames of these, each edge's in its order, off the queues: of the edges served least so far.

        The first is the one whose turn it is. Without a size all are taken: there is nothing to choose then.
        """
        if size is None:
            batch = [waiting for line in fitting.values() for waiting in line]
        else:
            batch = self._chosen(fitting, size)
        for taken in batch:
            self._edges[taken.frame.edge].waiting.remove(taken)
        self.waiting -= len(batch)
        return tuple(batch)

    def _chosen(
        self, fitting: Mapping[str, Sequence[Waiting[Scheduled]]], size: int
    ) -> list[Waiting[Scheduled]]:
        usual_s = self._frame_s() or UNKNOWN_S
        heads = [
            (self._edges[name].served_s, line[0].at, order, 0, name)
            for order, (name, line) in enumerate(fitting.items())
            if line
        ]
        heapq.heapify(heads)
        batch: list[Waiting[Scheduled]] = []
        while len(batch) < size:
            served_s, _, order, place, name = heads[0]
            line = fitting[name]
            batch.append(line[place])
            place += 1
            if place == len(line):
                heapq.heappop(heads)
                continue
            served_s += self._edges[name].frame_s or usual_s
            heapq.heapreplace(heads, (served_s, line[place].at, order, place, name))
        return batch
