"""The edge's line to the cloud: kept up, asked for answers, and known to be down soon when it is."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import structlog

from common import limits
from common.config import Address
from common.errors import (
    CleaveError,
    ConfigurationError,
    FrameError,
    LinkError,
    LinkLostError,
    ModelMismatchError,
    ProbeError,
    RemoteProtocolError,
)
from common.profile import Profile
from common.wire.connection import Received, Role
from common.wire.messages import (
    Answer,
    Busy,
    Bye,
    Drain,
    Failed,
    Hello,
    Infer,
    Message,
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
from common.wire.tensors import TensorEntry
from common.wire.transport import Channel
from edge_daemon.link_estimate import BandwidthSample, goodput

log = structlog.get_logger()

Replied = TypeVar("Replied")

SILENCE_S = 2.2
"""Two pings unanswered: the link is suspected, and frames go on without it."""
PROFILE_TIMEOUT_S = 600.0
"""A slow cloud may measure for minutes; the edge serves meanwhile."""
ANSWER_TIMEOUT_S = 30.0
"""For requests that are not frames."""


class CloudBusyError(LinkError):
    """The cloud did not take the frame."""


class CloudFailedError(LinkError):
    """The cloud could not run the frame, through no fault of the frame."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A frame's answer, its payload, and its round trip from handing over to arriving, in ms."""

    answer: Answer
    payload: memoryview
    round_trip_ms: float


@dataclass(frozen=True, slots=True)
class UplinkEvents:
    """What the uplink tells its owner, on the event loop."""

    up: Callable[[], None]
    down: Callable[[str], None]
    measured: Callable[[BandwidthSample], None]
    round_trip: Callable[[float], None]


@dataclass(slots=True)
class UplinkCounts:
    """What has happened on the line since the start."""

    connections: int = 0
    stale_answers: int = 0
    suspicions: int = 0


def next_delay_s(attempt: int, rng: random.Random) -> float:
    """Return how long to wait before connection attempt number `attempt` (1 is the first retry)."""
    if attempt <= 1:
        return rng.uniform(0.0, limits.RECONNECT_FIRST_S)
    grown = limits.RECONNECT_FIRST_S * limits.RECONNECT_FACTOR ** (attempt - 1)
    return min(grown * rng.uniform(0.8, 1.2), limits.RECONNECT_MAX_S)


class Uplink:
    """Connects, reconnects, and carries requests. `available` says whether frames may be sent now."""

    def __init__(self, address: Address, hello: Hello, events: UplinkEvents) -> None:
        self._address = address
        self._hello = hello
        self._events = events
        self._rng = random.Random()
        self._line: Line | None = None
        self.counts = UplinkCounts()
        self.last_error: str | None = None

    @property
    def available(self) -> bool:
        return self._line is not None and self._line.usable

    @property
    def cloud(self) -> Welcome | None:
        """The cloud's greeting, while connected."""
        return self._line.welcome if self._line is not None else None

    @property
    def bytes_up(self) -> int:
        return self._line.channel.bytes_out if self._line is not None else 0

    async def run(self) -> None:
        """Keep the line up until cancelled.

        Raises `ModelMismatchError` when the cloud holds another model, `ConfigurationError` when it speaks
        another protocol: no retry mends these.
        """
        loop = asyncio.get_running_loop()
        attempt = 0
        while True:
            started = loop.time()
            try:
                await self._connect_once()
            except ConfigurationError:
                raise
            except (LinkError, OSError, TimeoutError) as error:
                self._note(error)
            if loop.time() - started >= limits.RECONNECT_HEALTHY_S:
                attempt = 0
            attempt += 1
            await asyncio.sleep(next_delay_s(attempt, self._rng))

    async def _connect_once(self) -> None:
        loop = asyncio.get_running_loop()
        line = Line(self)
        async with asyncio.timeout(limits.CONNECT_TIMEOUT_S):
            await loop.create_connection(lambda: line.channel, self._address.host, self._address.port)
        try:
            line.channel.send(self._hello)
            await line.greeted
            self._line = line
            self.counts.connections += 1
            self.last_error = None
            assert line.welcome is not None
            log.info("cloud connected", cloud=line.welcome.cloud, device=line.welcome.device)
            self._events.up()
            await line.watch()
        finally:
            was_up = self._line is line
            self._line = None
            line.channel.abort()
            line.fail(LinkLostError("the connection is closed"))
            if was_up:
                self._events.down(line.why)
        raise LinkLostError(line.why)

    def _note(self, error: Exception) -> None:
        """Log why there is no connection, once for each new reason."""
        reason = "it does not answer" if isinstance(error, TimeoutError) else str(error)
        if reason != self.last_error:
            log.warning("no connection to the cloud", address=str(self._address), reason=reason)
            self.last_error = reason

    # --- requests ---------------------------------------------------------------------------------------
    def _require(self) -> Line:
        if self._line is None or not self._line.usable:
            raise LinkLostError("there is no connection to the cloud")
        return self._line

    async def infer(
        self,
        frame: int,
        epoch: int,
        entries: tuple[TensorEntry, ...],
        chunks: Sequence[memoryview | bytes],
        timeout_s: float,
    ) -> Reply:
        """Have the cloud run a frame's tail.

        Raises `LinkLostError` when the line goes or the answer takes longer than `timeout_s` (the line is
        suspected then), `CloudBusyError`, `CloudFailedError`, and `FrameError` when the frame is at fault.
        """
        line = self._require()
        loop = asyncio.get_running_loop()
        started = loop.time()
        infer = Infer(frame=frame, epoch=epoch, deadline_ms=timeout_s * 1e3, tensors=entries)
        reply: asyncio.Future[Reply] = loop.create_future()
        line.frames[frame, epoch] = (started, reply)
        try:
            async with asyncio.timeout(timeout_s):
                await line.channel.writable()
                line.channel.send(infer, chunks)
                return await reply
        except TimeoutError:
            reason = f"no answer to frame {frame} within {timeout_s:.1f} s"
            line.suspect(reason)
            raise LinkLostError(reason) from None
        finally:
            line.frames.pop((frame, epoch), None)

    async def prepare(self, request: Prepare) -> Prepared:
        """Have the cloud make a stage ready. Raises `LinkLostError`."""
        line = self._require()
        reply: asyncio.Future[Prepared] = asyncio.get_running_loop().create_future()
        line.prepares[request.epoch] = reply
        try:
            return await line.ask(request, reply)
        finally:
            line.prepares.pop(request.epoch, None)

    async def profile(self, frame: bytes) -> Profile:
        """Get the cloud's profile for frames like `frame`. Raises `LinkLostError`, `RemoteProtocolError`."""
        line = self._require()
        line.profile = asyncio.get_running_loop().create_future()
        payload = await line.ask(ProfileRequest(), line.profile, [frame], PROFILE_TIMEOUT_S)
        try:
            return Profile.from_json(bytes(payload))
        except ValueError as error:
            raise RemoteProtocolError(f"the cloud sent no valid profile: {error}") from None

    async def probe_turn(self) -> ProbeGrant:
        """Get a turn on the cloud's iperf3 server. Raises `ProbeError` when it gives none, `LinkLostError`."""
        line = self._require()
        line.grant = asyncio.get_running_loop().create_future()
        reply = await line.ask(ProbeRequest(), line.grant)
        if isinstance(reply, ProbeDenied):
            raise ProbeError(f"the cloud gives no turn: {reply.reason}")
        return reply

    async def probe_by_ping(self) -> None:
        """Measure the bandwidth by a ping with a payload; the sample comes as an event. Raises `LinkLostError`."""
        line = self._require()
        ping = line.channel.connection.ping(asyncio.get_running_loop().time())
        reply: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.probes[ping.number] = reply
        await line.ask(ping, reply, [bytes(limits.CHANNEL_PROBE_BYTES)])

    def suspected(self, reason: str) -> None:
        """Take note of a suspicion: count, tell the owner."""
        self.counts.suspicions += 1
        self._events.down(reason)

    def recovered(self) -> None:
        log.info("the cloud is heard again")
        self._events.up()

    @property
    def events(self) -> UplinkEvents:
        return self._events


class Line:
    """One connection of the uplink: its greeting, and who waits for what on it."""

    def __init__(self, uplink: Uplink) -> None:
        loop = asyncio.get_running_loop()
        self._uplink = uplink
        self._loop = loop
        self.channel = Channel(Role.EDGE, self)
        self.greeted: asyncio.Future[None] = loop.create_future()
        self.welcome: Welcome | None = None
        self.why = "the cloud closed the connection"
        self.frames: dict[tuple[int, int], tuple[float, asyncio.Future[Reply]]] = {}
        self.prepares: dict[int, asyncio.Future[Prepared]] = {}
        self.probes: dict[int, asyncio.Future[None]] = {}
        self.profile: asyncio.Future[memoryview] | None = None
        self.grant: asyncio.Future[ProbeGrant | ProbeDenied] | None = None
        self._suspected = False
        self._draining = False

    @property
    def usable(self) -> bool:
        return self.channel.is_open and not self._suspected and not self._draining

    async def ask(
        self,
        message: Message,
        reply: asyncio.Future[Replied],
        chunks: Sequence[memoryview | bytes] = (),
        timeout_s: float = ANSWER_TIMEOUT_S,
    ) -> Replied:
        self.channel.send(message, chunks)
        try:
            async with asyncio.timeout(timeout_s):
                return await reply
        except TimeoutError:
            raise LinkLostError(f"no answer to {type(message).__name__} within {timeout_s:g} s") from None

    async def watch(self) -> None:
        """Wait until the connection is closed, suspecting it when it falls silent."""
        while not self.channel.done.done():
            await asyncio.wait([self.channel.done], timeout=0.2)
            silent_s = self.channel.connection.silent_for(self._loop.time())
            if silent_s > SILENCE_S and self.usable:
                self.suspect(f"the cloud has been silent for {silent_s:.1f} s")

    def suspect(self, reason: str) -> None:
        """Stop using the line until something is heard on it; whoever waits for an answer is told."""
        if self.usable:
            self._suspected = True
            log.warning("link suspected, frames go on without it", reason=reason)
            self.fail(LinkLostError(reason))
            self._uplink.suspected(reason)

    def fail(self, error: CleaveError) -> None:
        """Tell everybody who waits on this line."""
        waiting: list[asyncio.Future[object]] = [future for _, future in self.frames.values()]  # type: ignore[misc]
        waiting += [*self.prepares.values(), *self.probes.values()]  # type: ignore[list-item]
        waiting += [future for future in (self.profile, self.grant) if future is not None]  # type: ignore[misc]
        for future in waiting:
            if not future.done():
                future.set_exception(error)
                future.exception()  # taken note of: whoever waits may have been cancelled

    # --- what the channel calls -------------------------------------------------------------------------
    def heard(self, event: Received) -> None:
        match event.message:
            case Answer() as answer:
                self._answered(answer, event)
            case Pong() as pong:
                self._ponged(pong, event)
            case Busy() as busy:
                self._reply_frame(busy.frame, busy.epoch, CloudBusyError("the cloud is busy"))
            case Failed() as failed:
                kind = FrameError if failed.frame_at_fault else CloudFailedError
                self._reply_frame(failed.frame, failed.epoch, kind(failed.reason))
            case Prepared() as prepared:
                _set(self.prepares.get(prepared.epoch), prepared)
            case ProfileReply():
                _set(self.profile, event.payload)
            case ProbeGrant() | ProbeDenied() as turn:
                _set(self.grant, turn)
            case Welcome() as welcome:
                self.welcome = welcome
                _set(self.greeted, None)
            case Refused() as refused:
                kinds: Mapping[str, type[CleaveError]] = {
                    "model": ModelMismatchError,
                    "protocol": ConfigurationError,
                }
                self.greeted.set_exception(kinds.get(refused.kind, LinkLostError)(refused.reason))
            case Drain(reason=reason):
                self._draining = True
                self.why = reason
                self._uplink.suspected(reason)
            case Bye(reason=reason):
                self.why = reason
        if self._suspected:
            self._suspected = False
            self._uplink.recovered()

    def closed(self, error: LinkError | None) -> None:
        if error is not None:
            self.why = str(error)
        if not self.greeted.done():
            self.greeted.set_exception(LinkLostError(self.why))
        self.fail(LinkLostError(self.why))

    def _answered(self, answer: Answer, event: Received) -> None:
        sample = goodput(answer.receive_ms, answer.spaced_bytes, event.at, "traffic")
        if sample is not None:
            self._uplink.events.measured(sample)
        waiting = self.frames.get((answer.frame, answer.epoch))
        if waiting is None or waiting[1].done():
            self._uplink.counts.stale_answers += 1
            return
        started, reply = waiting
        reply.set_result(Reply(answer, event.payload, (event.at - started) * 1e3))

    def _ponged(self, pong: Pong, event: Received) -> None:
        seconds = self.channel.connection.round_trip_s(pong, event.at)
        probe = self.probes.pop(pong.number, None)
        if probe is None:
            self._uplink.events.round_trip(seconds * 1e3)
            return
        sample = goodput(pong.receive_ms, pong.spaced_bytes, event.at, "ping")
        if sample is not None:
            self._uplink.events.measured(sample)
        _set(probe, None)

    def _reply_frame(self, frame: int, epoch: int, error: CleaveError) -> None:
        waiting = self.frames.get((frame, epoch))
        if waiting is not None and not waiting[1].done():
            waiting[1].set_exception(error)


def _set(future: asyncio.Future[Replied] | None, value: Replied) -> None:
    """Give a value to whoever waits, if anybody still does."""
    if future is not None and not future.done():
        future.set_result(value)
