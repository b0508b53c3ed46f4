"""What an edge asks a session for that is no frame: plans, measurements, the profile, turns on the iperf3 server."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from cloud_daemon.prepare_rank import PrepareRanks
from cloud_daemon.probe_turns import TURN_S, ProbeTurns
from cloud_daemon.tail import Tail, TailPool
from common import limits
from common.errors import CleaveError, PlanError, ProbeError, RemoteProtocolError, without_frames
from common.plan import Output, Stage
from common.wire.messages import (
    MeasureReply,
    MeasureRequest,
    Message,
    Prepare,
    Prepared,
    ProbeDenied,
    ProbeGrant,
    ProbeRequest,
    ProfileReply,
    ProfileRequest,
    StageMessage,
    printable,
)


class Say(Protocol):
    """Sends a message, with its payload in chunks."""

    def __call__(self, message: Message, chunks: Sequence[memoryview | bytes] = (), /) -> None: ...


Request = Prepare | MeasureRequest | ProfileRequest | ProbeRequest

CANNOT = (CleaveError, RuntimeError, MemoryError)
"""Of the request, of the executor, or of the machine: a stage that cannot be had is an answer, and frames go on."""


class Requests:
    """The requests of one session, each a task that ends with it; and the tails that were prepared for it.

    What is answered is given to `say`, an error that ends the session to `failed`.
    """

    def __init__(
        self,
        *,
        pool: TailPool,
        worker: str,
        turns: ProbeTurns,
        edge: str,
        ranks: PrepareRanks,
        tasks: asyncio.TaskGroup,
        peer_host: str | None,
        say: Say,
        failed: Callable[[Exception], None],
        log: FilteringBoundLogger,
    ) -> None:
        self._pool = pool
        self._worker = worker
        self._turns = turns
        self._edge = edge
        self._ranks = ranks
        self._tasks = tasks
        self._peer_host = peer_host
        self._say = say
        self._failed = failed
        self._log = log
        self.tails: OrderedDict[int, Tail] = OrderedDict()
        """What was prepared, by epoch, what was prepared or used last at the end."""
        self._preparing = ranks.turn(edge)
        self._profiling = asyncio.Lock()
        """One at a time: an edge has one size of frames, and the places in the line are for all edges."""
        self.running: set[asyncio.Task[None]] = set()

    def begin(self, request: Request, payload: memoryview) -> None:
        """Begin with a request. An honest edge has few at a time: for more, raises `RemoteProtocolError`."""
        if len(self.running) >= limits.MAX_REQUESTS:
            raise RemoteProtocolError(f"more than {limits.MAX_REQUESTS} requests at a time")
        running = self._tasks.create_task(self._guard(request, [payload]))
        self.running.add(running)
        running.add_done_callback(self.running.discard)

    def tail(self, epoch: int) -> Tail | None:
        """Return what was prepared under `epoch`, to be used now: others make room before it."""
        if epoch in self.tails:
            self.tails.move_to_end(epoch)
        return self.tails.get(epoch)

    def cancel(self) -> None:
        """End what is being done."""
        for running in self.running:
            running.cancel()

    async def _guard(self, request: Request, payload: list[memoryview]) -> None:
        """Do what was asked for; what goes wrong in it ends this session, and the others go on.

        The payload comes in a list, for whoever needs it to take it out: nobody else keeps it then.
        """
        try:
            await self._work(request, payload)
        except Exception as error:
            self._failed(error)

    async def _work(self, request: Request, payload: list[memoryview]) -> None:
        match request:
            case Prepare():
                await self._prepare(request)
            case MeasureRequest():
                await self._measure(request)
            case ProfileRequest():
                await self._profile(payload)
            case ProbeRequest():
                await self._probe()

    async def _prepare(self, prepare: Prepare) -> None:
        started = time.perf_counter()
        try:
            stage = self._stage(prepare)
            async with self._preparing:
                tail = await self._pool.prepare(stage, self._edge, self._ranks)
        except CANNOT as error:
            reason = _why(without_frames(error))  # they hold this session, and what it has prepared
            self._log.warning("plan refused", epoch=prepare.epoch, reason=reason)
            self._say(Prepared(epoch=prepare.epoch, ready=False, reason=reason, prepare_ms=0))
            return
        self.tails[prepare.epoch] = tail
        self.tails.move_to_end(prepare.epoch)  # prepared again, it is as young as any
        while len(self.tails) > limits.MAX_PREPARED_EPOCHS:
            self.tails.popitem(last=False)
        prepare_ms = (time.perf_counter() - started) * 1e3
        self._log.info("plan ready", epoch=prepare.epoch, units=len(stage.units), inputs=list(stage.inputs))
        self._say(Prepared(epoch=prepare.epoch, ready=True, reason="", prepare_ms=prepare_ms))

    async def _measure(self, request: MeasureRequest) -> None:
        try:
            stage_ms, whole_ms = await self._pool.measure(self._stage(request))
        except CANNOT as error:
            reason = _why(without_frames(error))
            self._log.warning("stage not measured", reason=reason)
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
            worker=self._worker,
            units=tuple(names[i] for i in asked.units),
            inputs=tuple(names[i] for i in asked.inputs),
            outputs=tuple(Output(names[i], destination) for i, destination in asked.outputs),
        )

    async def _profile(self, payload: list[memoryview]) -> None:
        async with self._profiling:
            # A copy waits for its turn: the payload's memory is for frames, and is bounded over all edges.
            profile = await self._pool.profile(await asyncio.to_thread(bytes, payload.pop()))
        self._say(ProfileReply(), [profile.to_json().encode()])

    async def _probe(self) -> None:
        try:
            async with self._turns.turn(self._peer_host) as server:
                self._say(ProbeGrant(port=self._turns.port, seconds=TURN_S))
                async with asyncio.timeout(TURN_S):
                    await server.wait()
        except TimeoutError:
            self._log.info("bandwidth test took too long, its turn is over", seconds=TURN_S)
        except ProbeError as error:
            self._say(ProbeDenied(reason=printable(error)))


def _why(error: BaseException) -> str:
    """Say an error in a message: ours explain themselves, others by their kind, too."""
    return printable(error if isinstance(error, CleaveError) else f"{type(error).__name__}: {error}")
