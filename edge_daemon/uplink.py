"""The edge's line to the cloud: kept up, asked for answers, and known to be down soon when it is."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from typing import TypeVar

import structlog

from common import limits
from common.config import Address
from common.errors import (
    LinkLostError,
    ProbeError,
    RemoteProtocolError,
)
from common.profile import Profile
from common.tls.explain import why_the_cloud_failed
from common.tls.identity import Identity, describe
from common.wire.messages import (
    Hello,
    Infer,
    MeasureReply,
    MeasureRequest,
    Prepare,
    Prepared,
    ProbeDenied,
    ProbeGrant,
    ProbeRequest,
    ProfileRequest,
    Welcome,
)
from common.wire.tensors import TensorEntry
from edge_daemon.attempts import Attempts
from edge_daemon.attempts import end as end_attempts
from edge_daemon.connector import Connector
from edge_daemon.frame_wait import answer_while_it_moves, has_room
from edge_daemon.frames_away import CloudLateError, Reply
from edge_daemon.line import Line, UplinkCounts, UplinkEvents
from edge_daemon.patience import Progress

log = structlog.get_logger()

Replied = TypeVar("Replied")

PROFILE_TIMEOUT_S = 600.0
"""A slow cloud may measure for minutes; the edge serves meanwhile."""


class Uplink:
    """Connects, reconnects, and carries requests. `available` says whether frames may be sent now."""

    def __init__(
        self, address: Address, hello: Hello, events: UplinkEvents, identity: Identity | None = None
    ) -> None:
        self._address = address
        self._identity = identity
        self._events = events
        connector = Connector(self, address, hello, identity)
        self._attempts = Attempts(connector.line, self._note, random.Random())
        self._line: Line | None = None
        self.counts = UplinkCounts()
        self.last_error: str | None = None

    @property
    def available(self) -> bool:
        return self._line is not None and self._line.usable

    @property
    def longest_wait_s(self) -> float:
        """How long the frame that waits for its answer longest has waited; 0 if none does."""
        return self._line.frames.longest_wait_s() if self._line is not None else 0.0

    def progress(self, frame: int, epoch: int) -> Progress | None:
        """Say how far a frame has come that waits for its answer; none where it does not, or was not sent yet."""
        return self._line.frames.progress(frame, epoch) if self._line is not None else None

    def ahead(self) -> Progress | None:
        """Say what a frame that is sent now would wait behind; none where no frame waits."""
        return self._line.frames.ahead() if self._line is not None else None

    @property
    def arrived_bytes(self) -> int:
        """Bytes that the cloud's kernel has confirmed, since the present connection was made."""
        return self._line.channel.confirmed_bytes if self._line is not None else 0

    @property
    def outstanding_bytes(self) -> int:
        """Bytes on the line that it has not."""
        return self._line.channel.outstanding_bytes if self._line is not None else 0

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
        line: Line | None = None
        try:
            while True:
                line = await self._connected(line)
                await line.watch()
                if time.perf_counter() - line.greeted_at >= limits.RECONNECT_HEALTHY_S:
                    self._attempts.succeeded()
                if line.is_closed:
                    self._give_up(line)
                    line = None
        finally:
            if self._line is not None:
                self._line.channel.abort()
                self._line.fail(LinkLostError("the connection is closed"))
                self._line = None

    async def _connected(self, silent: Line | None) -> Line:
        """Return a line to go on with: a new one, or the `silent` one if that is heard again first."""
        if silent is None:
            line = await self._attempts.first(at_once=self.counts.connections == 0)
            self._use(line)
            return line
        # At once: the pings of many edges fall silent at different moments, so they do not come together.
        connecting = asyncio.create_task(self._attempts.first(at_once=True))
        speaking = asyncio.create_task(silent.heard_again())
        used = False
        try:
            await asyncio.wait([connecting, speaking], return_when=asyncio.FIRST_COMPLETED)
            if not connecting.done():
                if not silent.is_closed:
                    return silent
                self._give_up(silent)
                await asyncio.wait([connecting])
            line = connecting.result()
            if self._line is silent:
                silent.why = "it stayed silent, and a new connection did not"
                self._give_up(silent)
            self._use(line)
            used = True
            return line
        finally:
            speaking.cancel()
            if not used:
                await end_attempts([connecting])

    def _use(self, line: Line) -> None:
        self._line = line
        self.counts.connections += 1
        self.last_error = None
        assert line.welcome is not None
        log.info(
            "cloud connected",
            cloud=line.welcome.cloud,
            device=line.welcome.device,
            channel=describe(self._identity),
        )
        self._events.up()

    def _give_up(self, line: Line) -> None:
        self._line = None
        self._events.down(line.why)
        line.channel.abort()
        line.fail(LinkLostError("the connection is closed"))
        self._note(LinkLostError(line.why))

    def _note(self, error: Exception) -> None:
        """Log why there is no connection, once for each new reason; not of attempts beside a line that is heard."""
        if self.available:
            return
        reason = "it does not answer" if isinstance(error, TimeoutError) else str(error)
        if self._identity is not None:
            reason = why_the_cloud_failed(error, self._address.host) or reason
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
        *,
        patience_s: float,
        longest_s: float,
        pace_bps: float | None = None,
    ) -> Reply:
        """Have the cloud run a frame's tail. Its bytes go out at `pace_bps` at most, in bit/s; none: at once.

        Raises `LinkLostError` when the line goes, `CloudLateError` when nothing of the frame has arrived for
        `patience_s` (then the line may be suspected: `Line.overdue`) or it has no answer after `longest_s`,
        `CloudBusyError`, `CloudFailedError`, and `FrameError` when the frame is at fault.
        """
        line = self._require()
        infer = Infer(frame=frame, epoch=epoch, deadline_ms=longest_s * 1e3, tensors=entries)
        reply = line.frames.expect(frame, epoch)
        try:
            async with asyncio.timeout(longest_s):
                if line.channel.is_writable or await has_room(line, reply, patience_s):
                    line.channel.pace(pace_bps)
                    line.channel.send(infer, chunks)
                    line.frames.sent(frame, epoch)
                    answer = await answer_while_it_moves(line, reply, (frame, epoch), patience_s)
                    if answer is not None:
                        return answer
                reason = f"no answer to frame {frame} within {patience_s:.1f} s of its bytes"
                raise line.overdue(frame, epoch, reason)
        except TimeoutError:
            progress = line.frames.progress(frame, epoch)
            raise CloudLateError(f"no answer to frame {frame} within {longest_s:.1f} s", progress) from None
        finally:
            line.frames.forget(frame, epoch)
            del reply  # its error knows this frame of ours, and with it the tensors

    async def prepare(self, request: Prepare) -> Prepared:
        """Have the cloud make a stage ready. Raises `LinkLostError`."""
        line = self._require()
        reply: asyncio.Future[Prepared] = asyncio.get_running_loop().create_future()
        line.prepares[request.epoch] = reply
        try:
            return await line.ask(request, reply)
        finally:
            line.prepares.pop(request.epoch, None)

    async def measure(self, request: MeasureRequest) -> MeasureReply:
        """Have the cloud measure a stage as a whole. Raises `LinkLostError`, also while it still measures another."""
        line = self._require()
        if line.measures:
            raise LinkLostError("the cloud still measures what it was asked for before")
        reply: asyncio.Future[MeasureReply] = asyncio.get_running_loop().create_future()
        line.measures[request.number] = reply
        return await line.ask(request, reply, timeout_s=PROFILE_TIMEOUT_S)

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

    async def probe_by_ping(self, nbytes: int = limits.CHANNEL_PROBE_BYTES) -> None:
        """Measure the bandwidth by a ping with a payload of `nbytes`; the sample comes as an event.

        It is sent when what was sent before it has arrived. Where the end of that had been lost, all of the ping
        would wait for it at the cloud, and be read at once, as on a link without end. Raises `LinkLostError`.
        """
        line = self._require()
        if line.channel.outstanding_bytes:
            await _ping(line, 0)
        line.channel.pace(None)  # the bandwidth may be more than a pace lets through
        await _ping(line, nbytes)

    def suspected(self, reason: str) -> None:
        """Take note of a suspicion: count, tell the owner."""
        self.counts.suspicions += 1
        self._events.down(reason)

    def recovered(self) -> None:
        log.info("the cloud is heard again")
        self.last_error = None
        self._events.up()

    @property
    def events(self) -> UplinkEvents:
        return self._events


async def _ping(line: Line, nbytes: int) -> None:
    """Wait for the answer to a ping with a payload of `nbytes`."""
    ping = line.channel.connection.ping(time.perf_counter())
    reply: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    line.probes[ping.number] = reply
    await line.ask(ping, reply, [bytes(nbytes)])
