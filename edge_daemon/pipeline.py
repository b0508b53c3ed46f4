"""The way of a frame: head on the edge, crossing tensors up, answer back; or on the edge alone.

With several lanes the head of one frame overlaps the link and tail of others:

    lane 1   head 1 | link 1 | tail 1 |         head 3 | …
    lane 2            head 2 | link 2 | tail 2 |         …

A frame whose answer is late is finished on the edge, too, and the first answer counts (`patience`).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any

import structlog
import torch

from common.errors import CleaveError, FrameError, LinkError, RemoteProtocolError, without_frames
from common.graph import ModelGraph
from common.plan import Cut, Plan
from common.wire.tensors import TensorEntry
from edge_daemon.active_plan import ActivePlan, Sent, run_head
from edge_daemon.certifier import Certifier
from edge_daemon.controller import Controller
from edge_daemon.frame import Frame, FrameQueue
from edge_daemon.frame_counts import FrameEvent, FrameLedger
from edge_daemon.frames_away import BetterNotSentError, CloudLateError
from edge_daemon.hedging import Hedging
from edge_daemon.journey import Journey
from edge_daemon.patience import longest_s, patience_s
from edge_daemon.results import FrameRecord
from edge_daemon.uplink import Uplink
from models.cancel_token import CancelToken
from models.compute import ComputeThread, Timed
from models.crossing import frame_tensor, from_wire
from models.model import Model
from models.stages import Stages

log = structlog.get_logger()

Tensors = dict[str, torch.Tensor]


class FramePipeline:
    """Takes frames from the queue and gives a record for each, on `lanes` frames at a time."""

    def __init__(
        self,
        *,
        model: Model,
        queue: FrameQueue,
        ledger: FrameLedger,
        compute: ComputeThread,
        controller: Controller,
        certifier: Certifier,
        stages: Stages,
        uplink: Uplink,
        record: Callable[[FrameRecord], Awaitable[None]],
    ) -> None:
        self._model = model
        self._queue = queue
        self._ledger = ledger
        self._compute = compute
        self._controller = controller
        self._certifier = certifier
        self._stages = stages
        self._uplink = uplink
        self._record = record
        self._hedging = Hedging(compute, uplink, controller.saw_slow)
        self._clock = time.perf_counter
        self._whole = Cut.edge_only(model.graph)
        self._late: set[asyncio.Task[torch.Tensor]] = set()
        self.let_down: Counter[str] = Counter()
        """Frames the edge finished after the cloud had let them down, by the kind of error."""
        self.sent_bytes: Counter[str] = Counter()
        """Bytes of crossing tensors handed to the link, by codec."""

    async def run(self, lanes: int, stop: asyncio.Event) -> None:
        """Run until the queue's end, or until `stop` is set; all frames taken have their record then."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(lanes):
                    group.create_task(self._lane(stop))
        finally:
            for late in self._late:
                late.cancel()

    async def _lane(self, stop: asyncio.Event) -> None:
        while (frame := await self._queue.get()) is not None and not stop.is_set():
            self._ledger.note(FrameEvent.BEGUN)
            record = await self._process(frame)
            self._ledger.note(FrameEvent.PROCESSED)
            await self._record(record)
        if not self._queue.full():
            self._queue.put_nowait(None)  # for the next lane

    async def _process(self, frame: Frame) -> FrameRecord:
        journey = Journey(self._model, self._controller.active, frame, self._clock())
        if frame.error is not None:
            return journey.failed(frame.error)
        self._controller.saw_frame(frame.data.nbytes)
        try:
            return await self._infer(journey)
        except FrameError as error:
            log.warning("frame failed", name=frame.origin.name, reason=str(error))
            return journey.failed(str(error))
        except CleaveError as error:
            log.error("frame failed", name=frame.origin.name, reason=str(error))
            return journey.failed(str(error))
        except (RuntimeError, MemoryError) as error:
            # Of the network, or of the machine: the next frame may do.
            log.exception("frame failed", name=frame.origin.name)
            return journey.failed(f"{type(error).__name__}: {error}"[:500])

    async def _infer(self, journey: Journey) -> FrameRecord:
        graph, active = self._model.graph, journey.active
        frame = frame_tensor(journey.frame.data)
        if not active.uses_cloud:
            assert active.parts.head is not None
            done = await self._compute.run(active.parts.head.run, {graph.source: frame})
            journey.head_done(done.run_ms, done.run_ms, self._clock())
            self._controller.saw_stages(active.plan, done.run_ms, None)
            return self._answered(journey, done.result[graph.sink], "edge")
        if active.parts.head is None:  # nothing to compute, nothing to encode: the file's own bytes
            sent = run_head(active.plan.cut, None, self._stages, frame)
        else:
            cut, head = active.plan.cut, active.parts.head
            ran = await self._compute.run(run_head, cut, head, self._stages, frame)
            sent = ran.result
            journey.head_done(sent.head_ms or 0.0, ran.run_ms, self._clock())
        journey.encode_ms = sent.encode_ms
        return await self._beyond_the_edge(journey, sent)

    async def _beyond_the_edge(self, journey: Journey, sent: Sent) -> FrameRecord:
        """Have a frame finished by the cloud; by the edge as well when the cloud is late, or lets it down."""
        active, frame = journey.active, journey.frame.number
        asked = self._task(active.plan, self._ask_cloud(journey, sent))
        finishing: asyncio.Task[Timed[Tensors]] | None = None
        token = CancelToken()
        try:
            if await self._hedging.is_late(frame, active.plan, asked):
                finishing = self._finish(active, sent, token)
            outcome = await self._first(journey, asked, finishing)
            if isinstance(outcome, BetterNotSentError):
                finishing = self._finish(active, sent, token)
                wait_s = outcome.edge_wait_s
                if await self._hedging.is_free_after_all(active.plan, sent.nbytes, finishing, wait_s):
                    asked = self._task(active.plan, self._answer_of_cloud(journey, sent))
                    outcome = await self._first(journey, asked, finishing)
            if isinstance(outcome, FrameRecord):
                return outcome
            journey.fallback = str(outcome)
            self.let_down[outcome.kind] += 1
            if finishing is None:
                finishing = self._finish(active, sent)
            finished = await finishing
        finally:
            if asked not in self._late:
                asked.cancel()
            if finishing is not None:
                finishing.cancel()
            token.cancel()  # nor do the frames behind wait for what nobody wants
            del asked, finishing  # their errors know this frame of ours, and with it the tensors
        journey.finished_locally(finished.run_ms)
        return self._answered(journey, finished.result[self._model.graph.sink], "edge after cloud")

    async def _first(
        self,
        journey: Journey,
        asked: asyncio.Task[torch.Tensor],
        finishing: asyncio.Task[Timed[Tensors]] | None,
    ) -> FrameRecord | LinkError:
        """Wait for the cloud's answer or for the edge's own; return the record, or why it is to be the edge's."""
        if finishing is not None:
            await asyncio.wait([asked, finishing], return_when=asyncio.FIRST_COMPLETED)
            if finishing.done() and finishing.exception() is not None:
                await asyncio.wait([asked])  # the cloud may have what the edge cannot do
        if not asked.done():
            self._late.add(asked)  # its answer will still tell of the link
            return CloudLateError("the answer was late, and the edge had its own sooner")
        try:
            return self._from_cloud(journey, asked.result())
        except LinkError as error:
            return without_frames(error)

    def _finish(
        self, active: ActivePlan, sent: Sent, token: CancelToken | None = None
    ) -> asyncio.Task[Timed[Tensors]]:
        """Begin to run the rest of a frame on the edge, to its end or until `token` is cancelled."""
        assert active.parts.rest is not None
        return asyncio.create_task(self._compute.run(active.parts.rest.run, sent.crossing, token))

    def _task(self, plan: Plan, asking: Coroutine[Any, Any, torch.Tensor]) -> asyncio.Task[torch.Tensor]:
        asked = asyncio.create_task(asking)
        asked.add_done_callback(partial(self._heard_of, plan))
        return asked

    def _heard_of(self, plan: Plan, asked: asyncio.Task[torch.Tensor]) -> None:
        """Take note of how a frame fared in the cloud, also when it has its record by now."""
        self._late.discard(asked)
        if not asked.cancelled() and isinstance(error := asked.exception(), CloudLateError):
            self._controller.saw_late(plan, error.progress)

    async def _ask_cloud(self, journey: Journey, sent: Sent) -> torch.Tensor:
        """See `_answer_of_cloud`. Raises `BetterNotSentError` instead where the edge has the frame sooner."""
        if sent.error is not None:
            raise sent.error
        self._hedging.raise_if_better_not_sent(journey.active.plan, sent.nbytes)
        return await self._answer_of_cloud(journey, sent)

    async def _answer_of_cloud(self, journey: Journey, sent: Sent) -> torch.Tensor:
        """Return the cloud's answer, and take note of what it tells of link and devices."""
        plan, graph = journey.active.plan, self._model.graph
        journey.bytes_up = sent.nbytes
        for entry in sent.entries:
            unit = graph.units[entry.unit].name
            self._controller.saw_sent(unit, plan.cut.codec_of[unit], entry.nbytes)  # as it was planned
            self.sent_bytes[entry.codec] += entry.nbytes
        reply = await self._uplink.infer(
            journey.frame.number,
            plan.epoch,
            sent.entries,
            sent.chunks,
            patience_s=patience_s(plan),
            longest_s=longest_s(plan),
            pace_bps=self._controller.pace_bps,
        )
        answer = reply.answer
        journey.link_ms = max(reply.round_trip_ms - answer.cloud_ms, 0.0)
        journey.cloud_queue_ms, journey.tail_ms = answer.queue_ms, answer.tail_ms
        if reply.alone:
            self._controller.saw_transfer(plan, journey.bytes_up, journey.link_ms)
        edge_ms = sent.head_ms + sent.encode_ms if sent.head_ms is not None else None
        self._controller.saw_stages(plan, edge_ms, answer.tail_ms)
        return from_wire(graph, check_answer(graph, answer.tensors), reply.payload)[graph.sink]

    def _from_cloud(self, journey: Journey, answer: torch.Tensor) -> FrameRecord:
        ran = "cloud" if journey.active.parts.head is None else "split"
        try:
            return self._answered(journey, answer, ran)
        except FrameError as error:  # not the frame's fault here, but the cloud's
            raise RemoteProtocolError(str(error)) from None

    def _answered(self, journey: Journey, answer: torch.Tensor, ran: str) -> FrameRecord:
        record = journey.answered(answer, ran, self._clock())
        cut = journey.active.plan.cut
        # What the edge finished itself crossed no wire, and lost nothing.
        self._certifier.saw_answer(journey.frame.data, cut if ran == "split" else self._whole, answer)
        self._controller.saw_answered(journey.frame.data)
        return record


def check_answer(graph: ModelGraph, entries: Sequence[TensorEntry]) -> Sequence[TensorEntry]:
    """Return `entries` if they are the model's answer and nothing else. Raises `RemoteProtocolError`."""
    wanted = [(graph.index[graph.sink], graph[graph.sink].output)]
    if [(entry.unit, entry.spec) for entry in entries] != wanted:
        shown = ", ".join(f"unit {entry.unit}: {entry.dtype}{list(entry.shape)}" for entry in entries[:4])
        raise RemoteProtocolError(f"the cloud's answer is not the model's: {shown or 'no tensor'}")
    return entries
