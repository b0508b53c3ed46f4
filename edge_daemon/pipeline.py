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
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import structlog
import torch

from common.errors import CleaveError, FrameError, LinkError, RemoteProtocolError
from common.graph import ModelGraph
from common.plan import Cut, Plan
from common.wire.tensors import TensorEntry
from edge_daemon.active_plan import ActivePlan, Sent, run_head
from edge_daemon.certifier import Certifier
from edge_daemon.controller import Controller
from edge_daemon.early_look import AGAIN_S, look_early, look_twice
from edge_daemon.frame import Frame, FrameQueue
from edge_daemon.frame_counts import FrameEvent, FrameLedger
from edge_daemon.frames_away import CloudLateError
from edge_daemon.journey import Journey
from edge_daemon.patience import (
    edge_free_in_s,
    hedge_s,
    is_worth_hedging,
    is_worth_sending,
    late_s,
    longest_s,
    look_s,
    pace_told,
    patience_s,
)
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
        asked = asyncio.create_task(self._ask_cloud(journey, sent))
        asked.add_done_callback(partial(self._heard_of, journey.active.plan))
        finishing: asyncio.Task[Timed[Tensors]] | None = None
        token = CancelToken()
        try:
            finishing = await self._hedged(journey, sent, asked, token)
            if finishing is not None:
                await asyncio.wait([asked, finishing], return_when=asyncio.FIRST_COMPLETED)
                if finishing.done() and finishing.exception() is not None:
                    await asyncio.wait([asked])  # the cloud may have what the edge cannot do
            if asked.done():
                try:
                    return self._from_cloud(journey, asked.result())
                except LinkError as error:
                    journey.fallback = str(error)
                    self.let_down[error.kind] += 1
            else:
                self.let_down[CloudLateError.kind] += 1
                journey.fallback = "the answer was late, and the edge had its own sooner"
                self._late.add(asked)  # its answer will still tell of the link
            if finishing is None:
                finishing = self._finish(journey.active, sent)
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

    async def _hedged(
        self, journey: Journey, sent: Sent, asked: asyncio.Task[torch.Tensor], token: CancelToken
    ) -> asyncio.Task[Timed[Tensors]] | None:
        """Wait for the cloud's answer; when it is late and the edge would be quicker, return the edge's beginning."""
        plan, wait_s = journey.active.plan, hedge_s(journey.active.plan)
        progress_of = partial(self._uplink.progress, journey.frame.number, plan.epoch)
        began = self._clock()
        if look_s(plan) < wait_s - AGAIN_S:
            await look_early(asked, look_s(plan), wait_s - AGAIN_S, progress_of, self._controller.saw_slow)
        looked_s = self._clock() - began
        while not asked.done():
            earlier, progress = await look_twice(asked, max(wait_s - looked_s, 0.0), progress_of)
            looked_s = 0.0
            if asked.done() or progress is None:
                continue
            if (told := pace_told(earlier, progress)) is not None:
                self._controller.saw_slow(told)
            if self._compute.idle and is_worth_hedging(plan, progress):
                return self._finish(journey.active, sent, token)
        return None

    def _finish(
        self, active: ActivePlan, sent: Sent, token: CancelToken | None = None
    ) -> asyncio.Task[Timed[Tensors]]:
        """Begin to run the rest of a frame on the edge, to its end or until `token` is cancelled."""
        assert active.parts.rest is not None
        return asyncio.create_task(self._compute.run(active.parts.rest.run, sent.crossing, token))

    def _heard_of(self, plan: Plan, asked: asyncio.Task[torch.Tensor]) -> None:
        """Take note of how a frame fared in the cloud, also when it has its record by now."""
        self._late.discard(asked)
        if not asked.cancelled() and isinstance(error := asked.exception(), CloudLateError):
            self._controller.saw_late(plan, error.progress)

    async def _ask_cloud(self, journey: Journey, sent: Sent) -> torch.Tensor:
        """Return the cloud's answer, and take note of what it tells of link and devices."""
        if sent.error is not None:
            raise sent.error
        plan, graph = journey.active.plan, self._model.graph
        nbytes = sum(memoryview(chunk).nbytes for chunk in sent.chunks)
        self._raise_if_better_not_sent(plan, nbytes)
        journey.bytes_up = nbytes
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
        )
        answer = reply.answer
        journey.link_ms = max(reply.round_trip_ms - answer.cloud_ms, 0.0)
        journey.cloud_queue_ms, journey.tail_ms = answer.queue_ms, answer.tail_ms
        if reply.alone:
            self._controller.saw_transfer(plan, journey.bytes_up, journey.link_ms)
        edge_ms = sent.head_ms + sent.encode_ms if sent.head_ms is not None else None
        self._controller.saw_stages(plan, edge_ms, answer.tail_ms)
        return from_wire(graph, check_answer(graph, answer.tensors), reply.payload)[graph.sink]

    def _raise_if_better_not_sent(self, plan: Plan, nbytes: int) -> None:
        """Raise `CloudLateError` where the edge has a frame of `nbytes` ready before the cloud would."""
        if self._compute.idle and self._uplink.longest_wait_s > late_s(plan):
            raise CloudLateError(f"a frame has waited {self._uplink.longest_wait_s:.2f} s for its answer")
        ahead = self._uplink.ahead()
        wait_s = edge_free_in_s(plan, self._compute.busy_s, self._compute.waiting)
        if not is_worth_sending(plan, nbytes, ahead, wait_s):
            assert ahead is not None
            raise CloudLateError(f"{ahead.outstanding_bytes} bytes are on the link before this frame's")

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
