"""One connection's protocol, without I/O: bytes in → events out, messages in → bytes out, time as numbers.

    edge                                cloud
    GREETING ── Hello ────────────────► GREETING
        │                                  │ judges
        ◄───────────── Welcome / Refused ──┤
      OPEN ◄═══════════════════════════► OPEN
        └── Drain ► DRAINING ── Bye / EOF ► CLOSED

The shell around it (transport.py) reads into `next_buffer()`, calls `received()` and `on_time()`, and writes
what `send()` returns. It holds no decisions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from common import limits
from common.errors import LinkLostError, LocalProtocolError, RemoteProtocolError
from common.wire import framing
from common.wire.framing import PREFIX, Prefix
from common.wire.incoming import Allocate, IncomingPayload, aligned_buffer
from common.wire.messages import (
    Answer,
    Busy,
    Bye,
    Drain,
    Failed,
    Hello,
    Infer,
    MeasureReply,
    MeasureRequest,
    Message,
    Ping,
    Pong,
    Prepare,
    Prepared,
    ProbeDenied,
    ProbeGrant,
    ProbeRequest,
    ProfileReply,
    ProfileRequest,
    Refused,
    Welcome,
)

SCRATCH_BYTES = limits.MAX_HEADER_BYTES + PREFIX.size
"""Read ahead at most this much: a whole prefix and header fit, and little of a payload is read into it."""
MOST_OPEN_PINGS = 256
"""Pings that are remembered while they are not answered: minutes of them."""


class Role(Enum):
    EDGE = auto()
    CLOUD = auto()


class State(Enum):
    GREETING = auto()
    OPEN = auto()
    DRAINING = auto()
    CLOSED = auto()


ALWAYS = frozenset({Bye})
EDGE_SAYS = frozenset({ProfileRequest, Prepare, MeasureRequest, Infer, ProbeRequest, Ping, Pong, Drain, Bye})
CLOUD_SAYS = frozenset(
    {
        ProfileReply,
        Prepared,
        MeasureReply,
        Answer,
        Busy,
        Failed,
        ProbeGrant,
        ProbeDenied,
        Ping,
        Pong,
        Drain,
        Bye,
    }
)

MAY_SAY: Mapping[tuple[Role, State], frozenset[type[Message]]] = {
    (Role.EDGE, State.GREETING): ALWAYS | {Hello},
    (Role.EDGE, State.OPEN): EDGE_SAYS,
    (Role.EDGE, State.DRAINING): EDGE_SAYS,
    (Role.EDGE, State.CLOSED): frozenset(),
    (Role.CLOUD, State.GREETING): ALWAYS | {Welcome, Refused},
    (Role.CLOUD, State.OPEN): CLOUD_SAYS,
    (Role.CLOUD, State.DRAINING): CLOUD_SAYS,
    (Role.CLOUD, State.CLOSED): frozenset(),
}
"""Who may say what, when. What one side may say, the other may hear."""

AFTER: Mapping[type[Message], State] = {
    Welcome: State.OPEN,
    Refused: State.CLOSED,
    Drain: State.DRAINING,
    Bye: State.CLOSED,
}
"""The state that a message leads to, said or heard. All others leave the state as it is."""


@dataclass(frozen=True, slots=True, eq=False)
class Received:
    """A whole message has arrived.

    `receive_s` passed between the read that completed its header and its last byte, and `spaced_bytes`
    arrived in that time: together they tell the bandwidth, whatever was queued before the message. `dropped`: there
    was no memory for its payload, or it came too late to be of use; the payload is empty then.
    """

    message: Message
    payload: memoryview
    receive_s: float
    spaced_bytes: int
    at: float
    dropped: bool = False


class Connection:
    """The protocol state of one connection, as seen by `role`. `now` is any monotonic clock, in seconds.

    Payloads are received into memory from `allocate`.
    """

    def __init__(self, role: Role, now: float, allocate: Allocate = aligned_buffer) -> None:
        self.role = role
        self._allocate = allocate
        self.peer_role = Role.CLOUD if role is Role.EDGE else Role.EDGE
        self.state = State.GREETING
        self._started = now
        self._alive_at = now
        self._pinged_at = now
        self._pings = 0
        self._ping_sent_at: dict[int, float] = {}
        self._hello_heard = False
        self._scratch = memoryview(bytearray(SCRATCH_BYTES))
        self._filled = 0
        self._prefix: Prefix | None = None
        self._message: Message | None = None
        self._payload: IncomingPayload | None = None

    # --- receiving --------------------------------------------------------------------------------------
    def next_buffer(self) -> memoryview:
        """Return where the next bytes from the peer shall be put: at least one byte long."""
        if self._payload is not None:
            return self._payload.next_buffer()
        return self._scratch[self._filled :]

    def received(self, nbytes: int, now: float) -> Iterator[Received]:
        """Take note that `nbytes` were put into `next_buffer()`; yield the messages this completes.

        Iterate to the end before the next call. Raises `RemoteProtocolError`, after the messages before it,
        at anything the protocol forbids; the connection is `CLOSED` then.
        """
        self._alive_at = now
        try:
            if self._payload is not None:
                self._payload.took(nbytes)
                if not self._payload.complete:
                    return
                yield self._complete(now)
            else:
                self._filled += nbytes
            yield from self._parse_scratch(now)
        except RemoteProtocolError:
            self.state = State.CLOSED
            raise

    def feed(self, data: bytes | memoryview, now: float) -> Iterator[Received]:
        """Receive `data` by copying it: for tests and for transports that bring their own buffers."""
        rest = memoryview(data)
        while rest.nbytes and self.state is not State.CLOSED:
            buffer = self.next_buffer()
            size = min(buffer.nbytes, rest.nbytes)
            buffer[:size] = rest[:size]
            yield from self.received(size, now)
            rest = rest[size:]

    def eof(self) -> None:
        """Take note that the peer will send no more. Raises `LinkLostError` in the middle of a message."""
        midway = self._filled > 0 or self._message is not None
        if self.state is not State.CLOSED and midway:
            self.state = State.CLOSED
            raise LinkLostError("the peer closed the connection in the middle of a message")
        self.state = State.CLOSED

    def _parse_scratch(self, now: float) -> Iterator[Received]:
        start = 0
        try:
            while self.state is not State.CLOSED:
                available = self._filled - start
                if self._prefix is None:
                    if available < PREFIX.size:
                        return
                    data = self._scratch[start : start + PREFIX.size]
                    prefix = framing.parse_prefix(data, greeting=self.state is State.GREETING)
                    self._check_heard(prefix.message)
                    self._prefix = prefix
                    start += PREFIX.size
                    continue
                if available < self._prefix.header_bytes:
                    return
                header = self._scratch[start : start + self._prefix.header_bytes]
                message = framing.parse_header(self._prefix, header)
                start += self._prefix.header_bytes
                first = self._scratch[start : min(start + self._prefix.payload_bytes, self._filled)]
                start += first.nbytes
                self._message = message
                self._payload = IncomingPayload(self._prefix.payload_bytes, self._allocate, now, first)
                if not self._payload.complete:
                    return
                yield self._complete(now)
        finally:
            rest = self._filled - start
            if start:  # overlapping slices of one buffer: go through bytes
                self._scratch[:rest] = bytes(self._scratch[start : self._filled])
            self._filled = rest

    def _complete(self, now: float) -> Received:
        message, payload = self._message, self._payload
        assert message is not None
        assert payload is not None
        event = Received(
            message, payload.view, now - payload.since, payload.spaced_bytes, now, dropped=payload.dropped
        )
        self._message = self._prefix = self._payload = None
        if isinstance(message, Hello):
            self._hello_heard = True
        self.state = AFTER.get(type(message), self.state)
        return event

    def _check_heard(self, message: type[Message]) -> None:
        allowed = MAY_SAY[self.peer_role, self.state]
        if message not in allowed or (message is Hello and self._hello_heard):
            raise RemoteProtocolError(
                f"{message.__name__} from the {self.peer_role.name} in {self.state.name}"
            )

    # --- sending ----------------------------------------------------------------------------------------
    def send(self, message: Message, chunks: Sequence[memoryview | bytes] = ()) -> list[memoryview | bytes]:
        """Return the buffers to write, in order, to say `message` with `chunks` as its payload.

        Raises `LocalProtocolError` when the protocol does not allow it now.
        """
        if type(message) not in MAY_SAY[self.role, self.state]:
            raise LocalProtocolError(f"{type(message).__name__} by the {self.role.name} in {self.state.name}")
        payload_bytes = sum(memoryview(chunk).nbytes for chunk in chunks)
        head = framing.pack(message, payload_bytes)
        self.state = AFTER.get(type(message), self.state)
        return [head, *chunks]

    # --- time -------------------------------------------------------------------------------------------
    def progressed(self, now: float) -> None:
        """Take note that the peer is taking our bytes, though it says nothing: it is alive."""
        self._alive_at = now

    def on_time(self, now: float) -> Ping | None:
        """Return the ping that is due, if any (edge only: the cloud hears the edge's).

        Raises `LinkLostError` when the handshake or the peer has been silent past its deadline.
        """
        if self.state is State.GREETING and now - self._started >= limits.HANDSHAKE_TIMEOUT_S:
            self.state = State.CLOSED
            raise LinkLostError(f"no handshake within {limits.HANDSHAKE_TIMEOUT_S:g} s")
        if self.state not in (State.OPEN, State.DRAINING):
            return None
        if now - self._alive_at >= limits.DEAD_AFTER_S:
            self.state = State.CLOSED
            raise LinkLostError(f"the peer has been silent for {now - self._alive_at:.1f} s")
        if self._payload is not None and now - self._payload.since > _useful_for_s(self._message):
            self._payload.give_up()
        if self.role is Role.EDGE and now - self._pinged_at >= limits.PING_INTERVAL_S:
            return self.ping(now)
        return None

    def ping(self, now: float) -> Ping:
        """Make the next ping."""
        self._pinged_at = now
        self._pings += 1
        self._ping_sent_at[self._pings] = now
        self._ping_sent_at.pop(self._pings - MOST_OPEN_PINGS, None)  # a peer may answer everything but pings
        return Ping(number=self._pings)

    def round_trip_s(self, pong: Pong, now: float) -> float:
        """Return the time since the ping that `pong` answers. Raises `RemoteProtocolError` if there was none."""
        sent = self._ping_sent_at.pop(pong.number, None)
        if sent is None:
            raise RemoteProtocolError(f"Pong {pong.number} answers no ping")
        return now - sent

    def silent_for(self, now: float) -> float:
        """Seconds since the peer last gave a sign of life."""
        return now - self._alive_at


def _useful_for_s(message: Message | None) -> float:
    """Return how long a message may take to come in: a frame's tensors until nobody waits for the answer any more."""
    if isinstance(message, Infer):
        return min(message.deadline_ms / 1e3, limits.LONGEST_MESSAGE_S)
    return limits.LONGEST_MESSAGE_S
