"""One direction of an emulated link, as a pure function of time.

A wire is what a modem is: lanes (one for each connection) wait for their turn at *one* bottleneck, which sends
a small quantum of each in turn at the link's rate; what has passed it is in flight for the link's delay.

     lane A  ▒▒▒▒▒ ─┐                      ┌── A, B, A …, each landing delay_ms later
     lane B  ▒▒ ────┴─► bottleneck (rate) ─┴─►        flight (delay)         ─►
            waiting     sending                       flying                    landed

Nothing here reads a clock or a socket: times are arguments, in seconds, of one monotonic clock.
"""

from __future__ import annotations

import enum
import math
import random
from collections import deque

from benchmarks.emulated_link_shape import LinkShape


class Mark(enum.Enum):
    """What happens to a connection between its bytes; a mark keeps its place among them."""

    OPEN = "open"
    FINISHED = "finished"  # no more bytes this way (FIN)
    ABORTED = "aborted"  # the connection broke (RST)


Piece = memoryview | Mark


class Lane:
    """One connection's bytes in one direction; made by `Wire.add_lane`."""

    __slots__ = ("flying", "flying_bytes", "receiver_full", "waiting", "waiting_bytes")

    def __init__(self) -> None:
        self.waiting: deque[Piece] = deque()
        self.waiting_bytes = 0
        self.flying: deque[tuple[float, Piece]] = deque()  # (when it lands, what)
        self.flying_bytes = 0
        self.receiver_full = False  # set by the owner: no time brings anything, only the receiver

    def take_turn(self, limit_bytes: int) -> tuple[list[Piece], int]:
        """Remove one quantum from the head of the queue: a mark alone, or bytes up to the limit."""
        if isinstance(self.waiting[0], Mark):
            return [self.waiting.popleft()], 0
        pieces: list[Piece] = []
        taken = 0
        while self.waiting and taken < limit_bytes:
            piece = self.waiting[0]
            if isinstance(piece, Mark):
                break
            part = piece[: limit_bytes - taken]
            if len(part) == len(piece):
                self.waiting.popleft()
            else:
                self.waiting[0] = piece[len(part) :]
            pieces.append(part)
            taken += len(part)
        self.waiting_bytes -= taken
        return pieces, taken

    def landed_by(self, horizon_s: float, limit: int = 64) -> list[memoryview] | Mark | None:
        """Look at what has landed by then: the mark in front, else bytes up to the next one, else None."""
        chunks: list[memoryview] = []
        for due_s, piece in self.flying:
            if due_s > horizon_s or len(chunks) == limit:
                break
            if isinstance(piece, Mark):
                return chunks or piece
            chunks.append(piece)
        return chunks or None

    def unload_bytes(self, n_bytes: int) -> None:
        """Remove that many landed bytes: the receiver took them."""
        self.flying_bytes -= n_bytes
        while n_bytes:
            due_s, piece = self.flying[0]
            assert isinstance(piece, memoryview)
            if len(piece) > n_bytes:
                self.flying[0] = (due_s, piece[n_bytes:])
                return
            self.flying.popleft()
            n_bytes -= len(piece)

    def unload_mark(self) -> None:
        """Remove the mark in front: it was acted upon."""
        _, mark = self.flying.popleft()
        assert isinstance(mark, Mark)


# A sender that was held back refills an emptied queue within this time; a longer gap is a pause of its own.
_REFILL_S = 0.002
# After a stall of this process, a sender that was held back regains at most this much of the lost time.
_CATCH_UP_S = 0.020


class Wire:
    """One direction of the link: the lanes, and the bottleneck that they share.

    The bottleneck keeps an absolute finish time, so a timer that fires late costs no rate. Time is caught up
    only for senders that were being held back: after a pause the first bytes are spaced as all others are.
    `early_s` lets things happen that much before their time: half a timer's tick makes its error even.
    Jitter is drawn from `rng`.
    """

    def __init__(self, shape: LinkShape, *, early_s: float = 0.0, rng: random.Random | None = None) -> None:
        self._shape = shape
        self._rng = rng or random.Random()
        self._early_s = early_s
        self._lanes: list[Lane] = []
        self._turns: deque[Lane] = deque()  # lanes with something waiting, the next one first
        self._sending: tuple[Lane, list[Piece], int] | None = None
        self._finish_s = -math.inf  # of what is being sent, else of what was sent last
        self._left_bytes = 0.0  # of what is being sent, while the link is cut off
        self._dry_since_s: float | None = -math.inf
        self._held_back = False

    @property
    def shape(self) -> LinkShape:
        """How the wire behaves now."""
        return self._shape

    def add_lane(self) -> Lane:
        """Add a connection."""
        lane = Lane()
        self._lanes.append(lane)
        return lane

    def remove_lane(self, lane: Lane) -> None:
        """Forget a connection and all that it had on the wire."""
        self._lanes.remove(lane)
        if lane in self._turns:
            self._turns.remove(lane)
        if self._sending is not None and self._sending[0] is lane:
            self._sending = (lane, [], 0)  # the time it takes is spent all the same

    def room_bytes(self, lane: Lane) -> int:
        """Say how many bytes the lane can take now; 0 holds its sender back."""
        return max(0, self._shape.waiting_limit_bytes - lane.waiting_bytes)

    def held_bytes(self) -> int:
        """Count what was offered and has not been unloaded: waiting, being sent, or in flight."""
        sending_bytes = 0 if self._sending is None else self._sending[2]
        return sending_bytes + sum(lane.waiting_bytes + lane.flying_bytes for lane in self._lanes)

    def offer(self, lane: Lane, piece: bytes | Mark, now_s: float) -> None:
        """Put bytes or a mark at the end of the lane's queue."""
        self.advance(now_s)  # what was before it has its own times
        if not lane.waiting:
            self._turns.append(lane)
        if isinstance(piece, Mark):
            lane.waiting.append(piece)
        else:
            lane.waiting.append(memoryview(piece))
            lane.waiting_bytes += len(piece)
            self._held_back = self._held_back or not self.room_bytes(lane)
        self.advance(now_s)

    def advance(self, now_s: float) -> None:
        """Let the bottleneck send what it can have sent by now."""
        if self._shape.is_cut:
            return
        while self._sending is not None or self._begin_turn(now_s):
            if self._finish_s > now_s + self._early_s:
                return
            assert self._sending is not None
            lane, pieces, n_bytes = self._sending
            self._sending = None
            lands_s = self._finish_s + self._delay_s(pieces)
            if lane.flying:  # a shortened delay must not let bytes overtake earlier ones
                lands_s = max(lands_s, lane.flying[-1][0])
            lane.flying.extend((lands_s, piece) for piece in pieces)
            lane.flying_bytes += n_bytes

    def _delay_s(self, pieces: list[Piece]) -> float:
        """Draw how long a quantum is in flight."""
        delay_s = self._shape.delay_s
        if self._shape.jitter_ms:
            delay_s = max(0.0, delay_s + self._rng.uniform(-1.0, 1.0) * self._shape.jitter_ms / 1e3)
        if pieces and pieces[0] is Mark.FINISHED:
            delay_s += self._shape.slow_close_ms / 1e3
        return delay_s

    def _begin_turn(self, now_s: float) -> bool:
        lane = self._next_lane()
        if lane is None:
            if self._dry_since_s is None:
                self._dry_since_s = now_s
            return False
        start_s = self._finish_s
        if self._dry_since_s is not None:
            self._held_back = self._held_back and now_s - self._dry_since_s < _REFILL_S
            start_s = max(start_s, now_s - _CATCH_UP_S if self._held_back else now_s)
            self._dry_since_s = None
        pieces, n_bytes = lane.take_turn(self._shape.quantum_bytes)
        if lane.waiting:
            self._turns.append(lane)
        self._sending = (lane, pieces, n_bytes)
        self._finish_s = start_s + self._shape.seconds_for(n_bytes)
        return True

    def _next_lane(self) -> Lane | None:
        """Remove from the turns the first lane whose receiver keeps up."""
        for position, lane in enumerate(self._turns):
            if lane.flying_bytes < self._shape.flying_limit_bytes:
                del self._turns[position]
                return lane
        return None

    def landed(self, lane: Lane, now_s: float) -> list[memoryview] | Mark | None:
        """Look at what has landed of a lane; nothing lands while the link is cut off."""
        return None if self._shape.is_cut else lane.landed_by(now_s + self._early_s)

    def wake_s(self) -> float | None:
        """Say when `advance` or `landed` next have something new; None if only an event can bring it."""
        if self._shape.is_cut:
            return None
        times = [lane.flying[0][0] for lane in self._lanes if lane.flying and not lane.receiver_full]
        if self._sending is not None:
            times.append(self._finish_s)
        return min(times) - self._early_s if times else None

    def reshape(self, shape: LinkShape, now_s: float) -> None:
        """Change the behaviour at once, also for the quantum that is being sent.

        What is already in flight keeps its time of landing.
        """
        self.advance(now_s)
        before, self._shape = self._shape, shape
        if self._sending is not None:
            if not before.is_cut:
                # An unlimited link is never in the middle of a quantum.
                self._left_bytes = max(0.0, self._finish_s - now_s) * (before.rate_bps or 0.0) / 8
            self._finish_s = now_s + shape.seconds_for(self._left_bytes)
        self.advance(now_s)
