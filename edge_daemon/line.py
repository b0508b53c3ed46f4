"""One connection to the cloud, as the edge sees it: its greeting, and who waits for what on it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import structlog

from common.errors import (
    CleaveError,
    ConfigurationError,
    FrameError,
    LinkError,
    LinkLostError,
    ModelMismatchError,
)
from common.wire.connection import Received, Role
from common.wire.messages import (
    Answer,
    Busy,
    Bye,
    Drain,
    Failed,
    MeasureReply,
    Message,
    Ping,
    Pong,
    Prepared,
    ProbeDenied,
    ProbeGrant,
    ProfileReply,
    Refused,
    Welcome,
)
from common.wire.transport import Channel
from edge_daemon.cloud_load import AnsweredWait, ExpectedWait
from edge_daemon.frames_away import CloudBusyError, CloudFailedError, CloudLateError, FramesAway
from edge_daemon.link_estimate import BandwidthSample, goodput

log = structlog.get_logger()

Replied = TypeVar("Replied")

SILENCE_S = 2.2
"""Two pings unanswered: the link is suspected, frames go on without it, and another connection is tried beside it."""
LISTEN_S = 0.05
"""How often a silent line is looked at for having been heard."""
ANSWER_TIMEOUT_S = 30.0
"""For requests that are not frames."""


MOST_UNSENT_BYTES = 256 * 1024
"""A suspected line with more than this unsent is given up: whatever came next would wait behind dead bytes."""


@dataclass(frozen=True, slots=True)
class UplinkEvents:
    """What the uplink tells its owner, on the event loop."""

    up: Callable[[], None]
    down: Callable[[str], None]
    measured: Callable[[BandwidthSample], None]
    round_trip: Callable[[float], None]
    waited: Callable[[AnsweredWait | ExpectedWait], None]


@dataclass(slots=True)
class UplinkCounts:
    """What has happened on the line since the start.

    `stale_answers` are answers of any kind (Answer, Busy, Failed) that nobody waited for: to another connection's,
    another epoch's or an unknown frame, too late, or for the second time. Each was dropped.
    """

    connections: int = 0
    stale_answers: int = 0
    suspicions: int = 0


class LineOwner(Protocol):
    """Who a line belongs to."""

    counts: UplinkCounts

    @property
    def events(self) -> UplinkEvents: ...
    def suspected(self, reason: str) -> None: ...
    def recovered(self) -> None: ...


class Line:
    """One connection of the uplink: its greeting, and who waits for what on it."""

    def __init__(self, owner: LineOwner) -> None:
        loop = asyncio.get_running_loop()
        self._owner = owner
        self.channel = Channel(Role.EDGE, self)
        self.greeted: asyncio.Future[None] = loop.create_future()
        self.greeted_at = 0.0
        self.welcome: Welcome | None = None
        self.refused = False
        self.why = "the cloud closed the connection"
        self.frames = FramesAway(self.channel)
        self.prepares: dict[int, asyncio.Future[Prepared]] = {}
        self.probes: dict[int, asyncio.Future[None]] = {}
        self.profile: asyncio.Future[memoryview] | None = None
        self.measures: dict[int, asyncio.Future[MeasureReply]] = {}
        """What the cloud has been asked to measure and has not answered, whether or not somebody still waits."""
        self.grant: asyncio.Future[ProbeGrant | ProbeDenied] | None = None
        self._suspected = False
        self._draining = False
        self._overdue_in_a_row = 0

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

    @property
    def is_closed(self) -> bool:
        return self.channel.done.done()

    @property
    def _silent_s(self) -> float:
        return self.channel.connection.silent_for(time.perf_counter())

    async def watch(self) -> None:
        """Wait until the connection is closed, or has fallen silent: it is suspected then."""
        while not self.is_closed and (left_s := SILENCE_S - self._silent_s) > 0.0:
            await asyncio.wait([self.channel.done], timeout=left_s)
        self.suspect(f"the cloud has been silent for {self._silent_s:.1f} s")

    async def heard_again(self) -> None:
        """Wait until a silent line is heard, or closed."""
        while not self.is_closed and self._silent_s >= SILENCE_S:
            await asyncio.wait([self.channel.done], timeout=LISTEN_S)

    def overdue(self, frame: int, epoch: int, reason: str) -> LinkError:
        """Take note that a frame's answer is overdue; return what whoever waits for it is to be told.

        A cloud that has said something since is alive and had a hiccup: the frames behind this one may well be
        answered. One that lets the next frame wait as well, or says nothing at all, is suspected.
        """
        now = time.perf_counter()
        self._overdue_in_a_row += 1
        heard_since = self.channel.connection.silent_for(now) < now - self.frames.started(frame, epoch)
        if heard_since and self._overdue_in_a_row == 1:
            return CloudLateError(reason)
        self.suspect(reason)
        return LinkLostError(reason)

    def suspect(self, reason: str) -> None:
        """Stop using the line until something is heard on it; whoever waits for an answer is told."""
        if self.usable:
            self._suspected = True
            log.warning("link suspected, frames go on without it", reason=reason)
            self.fail(LinkLostError(reason))
            self._owner.suspected(reason)
            if self.channel.unsent_bytes > MOST_UNSENT_BYTES:
                self.channel.abort(LinkLostError(f"{reason}; too much is still unsent"))

    def fail(self, error: CleaveError) -> None:
        """Tell everybody who waits on this line."""
        waiting: list[asyncio.Future[object]] = [*self.frames.replies()]  # type: ignore[list-item]
        waiting += [*self.prepares.values(), *self.probes.values(), *self.measures.values()]  # type: ignore[list-item]
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
            case Ping() if not self.channel.is_writable:
                pass  # a cloud that asks and does not read would fill this edge's memory with answers
            case Ping(number=number):
                receive_ms = event.receive_s * 1e3
                self.channel.send(Pong(number=number, receive_ms=receive_ms, spaced_bytes=event.spaced_bytes))
            case Busy() as busy:
                self._reply_frame(busy.frame, busy.epoch, CloudBusyError("the cloud is busy"))
            case Failed() as failed:
                kind = FrameError if failed.frame_at_fault else CloudFailedError
                self._reply_frame(failed.frame, failed.epoch, kind(failed.reason))
            case Prepared() as prepared:
                _set(self.prepares.get(prepared.epoch), prepared)
            case MeasureReply() as measured:
                _set(self.measures.pop(measured.number, None), measured)
            case ProfileReply():
                _set(self.profile, event.payload)
            case ProbeGrant() | ProbeDenied() as turn:
                _set(self.grant, turn)
            case Welcome() as welcome:
                self.welcome = welcome
                # What a decision is made with at once should know the round trip.
                self.channel.send(self.channel.connection.ping(time.perf_counter()))
                _set(self.greeted, None)
            case Refused() as refused:
                kinds: Mapping[str, type[CleaveError]] = {
                    "model": ModelMismatchError,
                    "protocol": ConfigurationError,
                }
                self.refused = True
                self._not_greeted(kinds.get(refused.kind, LinkLostError)(refused.reason))
            case Drain(reason=reason):
                self._draining = True
                self.why = reason
                self._owner.suspected(reason)
            case Bye(reason=reason):
                self.why = reason
        if self._suspected:
            self._suspected = False
            self._owner.recovered()

    def closed(self, error: LinkError | None) -> None:
        if error is not None:
            self.why = str(error)
        self._not_greeted(LinkLostError(self.why))
        self.fail(LinkLostError(self.why))

    def _not_greeted(self, error: CleaveError) -> None:
        if not self.greeted.done():
            self.greeted.set_exception(error)
            self.greeted.exception()  # taken note of: whoever connects may have given up

    def _answered(self, answer: Answer, event: Received) -> None:
        sample = goodput(answer.receive_ms, answer.spaced_bytes, event.at, "traffic")
        if sample is not None:
            self._owner.events.measured(sample)
        self._owner.events.waited(AnsweredWait(answer.others_ms, time.monotonic()))
        if self.frames.answered(answer, event):
            self._overdue_in_a_row = 0
        else:
            self._owner.counts.stale_answers += 1

    def _ponged(self, pong: Pong, event: Received) -> None:
        seconds = self.channel.connection.round_trip_s(pong, event.at)
        self._owner.events.waited(ExpectedWait(pong.wait_ms, pong.in_line_ms, time.monotonic()))
        probe = self.probes.pop(pong.number, None)
        if probe is None:
            self._owner.events.round_trip(seconds * 1e3)
            return
        sample = goodput(pong.receive_ms, pong.spaced_bytes, event.at, "ping")
        if sample is not None:
            self._owner.events.measured(sample)
        _set(probe, None)

    def _reply_frame(self, frame: int, epoch: int, error: CleaveError) -> None:
        if not self.frames.failed(frame, epoch, error):
            self._owner.counts.stale_answers += 1


def _set(future: asyncio.Future[Replied] | None, value: Replied) -> None:
    """Give a value to whoever waits, if anybody still does."""
    if future is not None and not future.done():
        future.set_result(value)
