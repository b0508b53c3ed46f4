"""One edge's connection at the cloud: hears its messages, has its frames run, answers."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Protocol

import structlog

from cloud_daemon.frame_runner import DeadlinePassedError, FrameRunner, NoPlaceError, Ran
from cloud_daemon.frame_tally import EdgeTally, FrameTally, Outcome, Served
from cloud_daemon.greeting import refusal, unwelcome
from cloud_daemon.probe_turns import TURN_S, ProbeTurns
from cloud_daemon.tail import Tail, TailPool
from common import limits
from common.errors import (
    CleaveError,
    FrameError,
    LinkError,
    LinkLostError,
    PlanError,
    ProbeError,
    RemoteProtocolError,
)
from common.plan import Output, Stage
from common.profile import ModelFingerprint
from common.tls.certificates import name_in
from common.wire.connection import Received, Role
from common.wire.incoming import Allocate
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
    StageMessage,
    Welcome,
    printable,
)
from common.wire.transport import Channel
from models.crossing import to_wire

log = structlog.get_logger()

Work = Callable[[], Coroutine[Any, Any, None]]


class House(Protocol):
    """What a session needs of the server it belongs to."""

    name: str
    pools: Mapping[ModelFingerprint, TailPool]
    frames: FrameRunner
    tally: FrameTally
    turns: ProbeTurns
    tasks: asyncio.TaskGroup
    allocate: Allocate

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
        self.channel = Channel(Role.CLOUD, self, house.allocate)
        self._tails: OrderedDict[int, Tail] = OrderedDict()
        self._in_flight: set[Received] = set()
        self._chosen: TailPool | None = None
        self._requests: set[asyncio.Task[None]] = set()
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
            case Prepare() as prepare:
                self._request(partial(self._prepare, prepare))
            case MeasureRequest() as request:
                self._request(partial(self._measure, request))
            case ProfileRequest():
                self._request(partial(self._profile, event.payload))
            case ProbeRequest():
                self._request(self._probe)
            case Drain() | Pong():
                pass
            case Bye(reason=reason):
                self._log.debug("edge says bye", reason=reason)

    def closed(self, error: LinkError | None) -> None:
        for request in self._requests:
            request.cancel()
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
        self.edge = certified or hello.edge
        self._log = self._log.bind(edge=self.edge)
        refused = unwelcome(hello, certified, self._house.allowed) or refusal(
            hello, [pool.model for pool in self._house.pools.values()]
        )
        if refused is not None:
            self._log.error("edge refused", peer=self.channel.peer, reason=refused.reason)
            self._say(refused)
            return
        self._chosen = self._house.pools[hello.fingerprint]
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
        tail = self._tails.get(infer.epoch)
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
        except LinkError as error:
            self.channel.abort(error)
        except Exception as error:  # a bug, or the machine: it ends this session, not the daemon
            self._broke(error)
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
        entries, chunks = to_wire(self._pool.model.graph, done.outputs)
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

    # --- plans, profiles, probes ------------------------------------------------------------------------
    async def _prepare(self, prepare: Prepare) -> None:
        started = time.perf_counter()
        try:
            stage = self._stage(prepare)
            tail = await self._pool.prepare(stage)
        except CleaveError as error:
            self._log.warning("plan refused", epoch=prepare.epoch, reason=str(error))
            self._say(Prepared(epoch=prepare.epoch, ready=False, reason=printable(error), prepare_ms=0))
            return
        self._tails[prepare.epoch] = tail
        self._tails.move_to_end(prepare.epoch)  # prepared again, it is as young as any
        while len(self._tails) > limits.MAX_PREPARED_EPOCHS:
            self._tails.popitem(last=False)
        prepare_ms = (time.perf_counter() - started) * 1e3
        self._log.info("plan ready", epoch=prepare.epoch, units=len(stage.units), inputs=list(stage.inputs))
        self._say(Prepared(epoch=prepare.epoch, ready=True, reason="", prepare_ms=prepare_ms))

    async def _measure(self, request: MeasureRequest) -> None:
        try:
            stage_ms, whole_ms = await self._pool.measure(self._stage(request))
        except CleaveError as error:
            self._log.warning("stage not measured", reason=str(error))
            reason = printable(error)
            self._say(
                MeasureReply(number=request.number, measured=False, reason=reason, stage_ms=0, whole_ms=0)
            )
            return
        self._say(
            MeasureReply(
                number=request.number, measured=True, reason="", stage_ms=stage_ms, whole_ms=whole_ms
            )
        )

    def _stage(self, asked: StageMessage) -> Stage:
        names = self._pool.model.graph.names
        if not asked.outputs:
            raise PlanError("the stage hands nothing on")
        for index in (*asked.units, *asked.inputs, *(unit for unit, _ in asked.outputs)):
            if index >= len(names):
                raise PlanError(f"unit {index} is not in the graph: it has {len(names)}")
        return Stage(
            worker=self._house.name,
            units=tuple(names[i] for i in asked.units),
            inputs=tuple(names[i] for i in asked.inputs),
            outputs=tuple(Output(names[i], destination) for i, destination in asked.outputs),
        )

    async def _profile(self, frame: memoryview) -> None:
        profile = await self._pool.profile(bytes(frame))
        self._say(ProfileReply(), [profile.to_json().encode()])

    async def _probe(self) -> None:
        try:
            async with self._house.turns.turn(self.channel.peer_host) as server:
                self._say(ProbeGrant(port=self._house.turns.port, seconds=TURN_S))
                async with asyncio.timeout(TURN_S):
                    await server.wait()
        except TimeoutError:
            self._log.info("bandwidth test took too long, its turn is over", seconds=TURN_S)
        except ProbeError as error:
            self._say(ProbeDenied(reason=printable(error)))

    # --- requests ------------------------------------------------------------------------------------------
    def _request(self, work: Work) -> None:
        """Begin something an edge asked for that is no frame. An honest edge has few of these at a time."""
        if len(self._requests) >= limits.MAX_REQUESTS:
            raise RemoteProtocolError(f"more than {limits.MAX_REQUESTS} requests at a time")
        request = self._house.tasks.create_task(self._guard(work))
        self._requests.add(request)
        request.add_done_callback(self._requests.discard)

    async def _guard(self, work: Work) -> None:
        """Do what was asked for; what goes wrong in it ends this session, not the daemon."""
        try:
            await work()
        except LinkError as error:
            self.channel.abort(error)
        except Exception as error:  # a bug, or the machine (out of memory): the other sessions go on
            self._broke(error)

    def _broke(self, error: Exception) -> None:
        self._log.exception("session failed")
        self.channel.abort(LinkLostError(f"{type(error).__name__}: {error}"))

    def _say(self, message: Message, chunks: list[memoryview | bytes] | None = None) -> None:
        if self.channel.is_open or isinstance(message, Welcome | Refused):
            self.channel.send(message, chunks or ())
        if self.channel.unsent_bytes > limits.MAX_UNSENT_BYTES:
            self.channel.abort(LinkLostError(f"the edge leaves {self.channel.unsent_bytes} bytes unread"))
