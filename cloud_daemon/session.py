"""One edge's connection at the cloud: hears its messages, has its frames run, answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Protocol

import structlog

from cloud_daemon.frame_runner import DeadlinePassedError, FrameRunner, NoPlaceError, Ran
from cloud_daemon.frame_tally import EdgeTally, FrameTally, Outcome, Served
from cloud_daemon.greeting import refusal, unwelcome
from cloud_daemon.prepare_rank import PrepareRanks
from cloud_daemon.probe_turns import ProbeTurns
from cloud_daemon.session_requests import Requests
from cloud_daemon.tail import TailPool
from common import limits
from common.errors import CleaveError, FrameError, LinkError, LinkLostError
from common.profile import ModelFingerprint
from common.tls.certificates import name_in
from common.wire.connection import Received, Role
from common.wire.messages import (
    Answer,
    Busy,
    Bye,
    Drain,
    Failed,
    Hello,
    Infer,
    MeasureRequest,
    Message,
    Ping,
    Pong,
    Prepare,
    ProbeRequest,
    ProfileRequest,
    Refused,
    Welcome,
    printable,
)
from common.wire.receive_ledger import ReceiveLedger
from common.wire.transport import Channel

log = structlog.get_logger()


class House(Protocol):
    """What a session needs of the server it belongs to."""

    name: str
    pools: Mapping[ModelFingerprint, TailPool]
    frames: FrameRunner
    tally: FrameTally
    turns: ProbeTurns
    ranks: PrepareRanks
    tasks: asyncio.TaskGroup
    ledger: ReceiveLedger

    @property
    def allowed(self) -> frozenset[str] | None: ...
    def complain(self, event: str, **what: object) -> None: ...
    def opened(self, session: Session) -> None: ...
    def ended(self, session: Session) -> None: ...


class Session:
    """The cloud's half of one connection. Its tasks end with it."""

    def __init__(self, house: House, number: str) -> None:
        self._house = house
        self.number = number
        self.edge = "unknown"
        self._account = house.ledger.account()
        self.channel = Channel(Role.CLOUD, self, self._account.allocate)
        self._in_flight: set[Received] = set()
        self._chosen: TailPool | None = None
        self._requests: Requests | None = None
        self._log = log.bind(session=number)
        self.greeted = False
        self.served = EdgeTally()

    @property
    def in_flight(self) -> int:
        """Frames of this edge that are here."""
        return len(self._in_flight)

    @property
    def model(self) -> str:
        """The edge's model; there is one from the greeting on."""
        return self._pool.model.name

    @property
    def _pool(self) -> TailPool:
        """The tails of the edge's model; there is one from the greeting on."""
        assert self._chosen is not None
        return self._chosen

    @property
    def _asked_for(self) -> Requests:
        """What the edge has asked for beside frames; there is such from the greeting on."""
        assert self._requests is not None
        return self._requests

    # --- what the channel calls -------------------------------------------------------------------------
    def heard(self, event: Received) -> None:
        match event.message:
            case Infer() as infer:
                self._infer(infer, event)
            case Ping() as ping:
                receive_ms = event.receive_s * 1e3
                wait = self._house.frames.wait(self.number)
                self._say(
                    Pong(
                        number=ping.number,
                        receive_ms=receive_ms,
                        spaced_bytes=event.spaced_bytes,
                        wait_ms=wait.now_s * 1e3,
                        in_line_ms=wait.in_line_s * 1e3,
                    )
                )
            case Hello() as hello:
                self._greet(hello)
            case Prepare() | MeasureRequest() | ProfileRequest() | ProbeRequest() as request:
                self._asked_for.begin(request, event.payload)
            case Drain() | Pong():
                pass
            case Bye(reason=reason):
                self._log.debug("edge says bye", reason=reason)

    def closed(self, error: LinkError | None) -> None:
        if self._requests is not None:
            self._requests.cancel()
            self._requests = None  # they know this session: in a circle both would wait for the collector
        for event in [*self._in_flight]:
            self._leave(event, Outcome.EDGE_GONE)
        self._house.frames.gone(self.number)
        if error is not None:
            said = "connection lost" if isinstance(error, LinkLostError) else "connection closed by us"
            self._log.warning(said, edge=self.edge, peer=self.channel.peer, reason=str(error))
        elif self.greeted:
            self._log.info("edge gone", edge=self.edge)
        self._house.ended(self)

    # --- greeting ---------------------------------------------------------------------------------------
    def _greet(self, hello: Hello) -> None:
        certified = name_in(self.channel.peer_certificate)
        self.edge = self._account.owner = certified or hello.edge
        self._log = self._log.bind(edge=self.edge)
        refused = unwelcome(hello, certified, self._house.allowed) or refusal(
            hello, [pool.model for pool in self._house.pools.values()]
        )
        if refused is not None:
            self._log.error("edge refused", peer=self.channel.peer, reason=refused.reason)
            self._say(refused)
            return
        self._chosen = self._house.pools[hello.fingerprint]
        self._requests = Requests(
            pool=self._chosen,
            worker=self._house.name,
            turns=self._house.turns,
            edge=self.edge,
            ranks=self._house.ranks,
            tasks=self._house.tasks,
            peer_host=self.channel.peer_host,
            say=self._say,
            failed=self._failed,
            log=self._log,
        )
        self.greeted = True
        self._say(
            Welcome(
                session=self.number,
                cloud=printable(self._house.name, limits.MAX_NAME_CHARS),
                device=printable(self._pool.executor.device_description, limits.MAX_NAME_CHARS),
                credit=limits.MAX_IN_FLIGHT,
            )
        )
        self._house.opened(self)
        self._log.info("edge connected", peer=self.channel.peer, model=hello.model, tls=certified is not None)

    # --- frames -----------------------------------------------------------------------------------------
    def _infer(self, infer: Infer, event: Received) -> None:
        tally = self._house.tally
        tail = self._asked_for.tail(infer.epoch)
        if tail is None:
            tally.turned_away(infer.tensors, Outcome.NOT_PREPARED)
            self._fail(infer, f"epoch {infer.epoch} is not prepared here")
            return
        if event.dropped:
            tally.turned_away(infer.tensors, Outcome.NOT_RECEIVED)
            self._house.complain("frame refused: no memory for it, or it came too late", edge=self.edge)
            self._busy(infer, self._house.frames.retry_ms(self.number))
            return
        tail.check(infer.tensors, event.payload.nbytes)
        if len(self._in_flight) >= limits.MAX_IN_FLIGHT:
            tally.turned_away(infer.tensors, Outcome.OVER_CREDIT)
            self._busy(infer, self._house.frames.retry_ms(self.number))
            return
        deadline = event.at + infer.deadline_ms / 1e3
        try:
            result = self._pool.infer(self.number, tail, infer.tensors, event.payload, deadline)
        except NoPlaceError as error:
            tally.turned_away(infer.tensors, Outcome.NO_PLACE)
            self._busy(infer, error.retry_after_ms)
            return
        tally.came(infer.tensors)
        self._in_flight.add(event)
        result.add_done_callback(partial(self._ran, infer, event))

    def _busy(self, infer: Infer, retry_after_ms: float) -> None:
        self._say(Busy(frame=infer.frame, epoch=infer.epoch, retry_after_ms=retry_after_ms))

    def _leave(self, event: Received, outcome: Outcome) -> None:
        """Give a frame's place back: before its answer leaves, so that the edge's next frame finds it free."""
        if event in self._in_flight:
            self._in_flight.discard(event)
            self._house.tally.ended(outcome)

    def _ran(self, infer: Infer, event: Received, result: asyncio.Future[Ran]) -> None:
        """Tell the edge what came of a frame. No task waits for that: it would cost more than the telling."""
        if event not in self._in_flight:  # the edge has gone
            result.exception()  # taken note of
            return
        try:
            self._tell(infer, event, result)
        except Exception as error:
            self._failed(error)
        finally:
            del result  # as in `_tell`, which it called

    def _tell(self, infer: Infer, event: Received, result: asyncio.Future[Ran]) -> None:
        try:
            done = result.result()
        except NoPlaceError as error:
            self._leave(event, Outcome.NO_PLACE)
            self._busy(infer, error.retry_after_ms)
        except DeadlinePassedError:
            self._leave(event, Outcome.LATE)
            self._log.info("frame dropped, its deadline has passed", frame=infer.frame)
        except FrameError as error:
            self._leave(event, Outcome.FRAME_AT_FAULT)
            self._fail(infer, str(error), frame_at_fault=True)
        except CleaveError as error:
            self._leave(event, Outcome.FAILED)
            self._log.warning("frame failed", frame=infer.frame, reason=str(error))
            self._fail(infer, str(error))
        else:
            self._leave(event, Outcome.ANSWERED)
            self.served.note()
            self._house.tally.served(Served(event.receive_s * 1e3, done.queue_ms, done.run_ms, done.batch))
            self._answer(infer, event, done)
        finally:
            del result  # its error knows this frame of ours, and with it the payload

    def _answer(self, infer: Infer, event: Received, done: Ran) -> None:
        entries, chunks = done.outputs
        self._say(
            Answer(
                frame=infer.frame,
                epoch=infer.epoch,
                receive_ms=event.receive_s * 1e3,
                spaced_bytes=event.spaced_bytes,
                queue_ms=done.queue_ms,
                tail_ms=done.run_ms,
                cloud_ms=(time.perf_counter() - event.at) * 1e3,
                others_ms=done.others_ms,
                batch=done.batch,
                tensors=entries,
            ),
            chunks,
        )

    def _fail(self, infer: Infer, reason: str, *, frame_at_fault: bool = False) -> None:
        self._say(
            Failed(
                frame=infer.frame,
                epoch=infer.epoch,
                frame_at_fault=frame_at_fault,
                reason=printable(reason),
            )
        )

    def _failed(self, error: Exception) -> None:
        """End this session, not the daemon: for the link's sake, or for that of a bug, or the machine."""
        if not isinstance(error, LinkError):
            self._log.exception("session failed")
            error = LinkLostError(f"{type(error).__name__}: {error}")
        self.channel.abort(error)

    def _say(self, message: Message, chunks: Sequence[memoryview | bytes] = ()) -> None:
        if self.channel.is_open or isinstance(message, Welcome | Refused):
            self.channel.send(message, chunks)
        if self.channel.unsent_bytes > limits.MAX_UNSENT_BYTES:
            self.channel.abort(LinkLostError(f"the edge leaves {self.channel.unsent_bytes} bytes unread"))
