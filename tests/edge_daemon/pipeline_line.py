"""A pipeline between a queue and its records, with a controller and a cloud that do what a test says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

from common.plan import Cut, Plan
from common.wire.tensors import TensorEntry
from edge_daemon.active_plan import ActivePlan
from edge_daemon.certifier import Certifier
from edge_daemon.controller import Controller
from edge_daemon.fidelity import Fidelity
from edge_daemon.frame import Frame, LosslessFrameQueue
from edge_daemon.frame_counts import FrameEvent, FrameLedger
from edge_daemon.frames_away import Reply
from edge_daemon.patience import Progress
from edge_daemon.pipeline import FramePipeline
from edge_daemon.results import FrameRecord
from edge_daemon.uplink import Uplink
from tests.edge_daemon.bench import Bench, classes_of, frame_of
from tests.tiny_model import jpeg, tiny_model

GRAPH = tiny_model().graph
CLOUD_ONLY, EDGE_ONLY = Cut.cloud_only(GRAPH), Cut.edge_only(GRAPH)
SPLIT = Cut.of(GRAPH, GRAPH.names[: GRAPH.index["add"]])
"""Two tensors cross: a unit's output goes on the edge and past it."""

Infer = Callable[[int, int, Sequence[TensorEntry], bytes], Awaitable[Reply]]


class FakeController:
    def __init__(self, active: ActivePlan) -> None:
        self.active = active
        self.sizes: list[int] = []
        self.answered = 0
        self.stages: list[tuple[Plan, float | None, float | None]] = []
        self.sent: list[tuple[str, str, int]] = []
        self.transfers: list[tuple[int, float]] = []
        self.slow: list[Progress] = []
        self.late: list[tuple[Plan, Progress | None]] = []
        self.pace_bps: float | None = None

    def saw_frame(self, nbytes: int) -> None:
        self.sizes.append(nbytes)

    def saw_answered(self, frame: memoryview) -> None:
        self.answered += 1

    def saw_stages(self, plan: Plan, head_ms: float | None, tail_ms: float | None) -> None:
        self.stages.append((plan, head_ms, tail_ms))

    def saw_slow(self, progress: Progress) -> None:
        self.slow.append(progress)

    def saw_late(self, plan: Plan, progress: Progress | None) -> None:
        self.late.append((plan, progress))

    def saw_transfer(self, plan: Plan, nbytes: int, link_ms: float) -> None:
        self.transfers.append((nbytes, link_ms))

    def saw_sent(self, unit: str, codec: str, nbytes: int) -> None:
        self.sent.append((unit, codec, nbytes))


class FakeUplink:
    """A cloud that does with each frame what the test says."""

    def __init__(self, answer: Infer) -> None:
        self._answer = answer
        self.now = 0
        self.most = 0
        self.longest_wait_s = 0.0
        self.has_come = Progress(delivered_bytes=0, outstanding_bytes=1000, waited_s=0.1)
        self.on_the_line: Progress | None = None
        self.available = True
        self.arrived_bytes = 0
        self.paces_bps: list[float | None] = []

    @property
    def outstanding_bytes(self) -> int:
        return self.on_the_line.outstanding_bytes if self.on_the_line is not None else 0

    def progress(self, frame: int, epoch: int) -> Progress | None:
        return self.has_come

    def ahead(self) -> Progress | None:
        return self.on_the_line

    async def infer(
        self,
        frame: int,
        epoch: int,
        entries: tuple[TensorEntry, ...],
        chunks: Sequence[memoryview | bytes],
        *,
        patience_s: float,
        longest_s: float,
        pace_bps: float | None,
    ) -> Reply:
        assert 0 < patience_s <= longest_s
        self.paces_bps.append(pace_bps)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return await self._answer(frame, epoch, entries, b"".join(chunks))
        finally:
            self.now -= 1


class Line:
    """A pipeline between a queue and its records."""

    def __init__(self, bench: Bench, active: ActivePlan, answer: Infer | None = None) -> None:
        self.queue: LosslessFrameQueue = asyncio.Queue(100)
        self.controller = FakeController(active)
        self.uplink = FakeUplink(answer or self._right)
        self.records: list[FrameRecord] = []
        self.stop = asyncio.Event()
        self._bench = bench
        self.fidelity = Fidelity(frozenset(), 0.99)
        self.ledger = FrameLedger()
        self.pipeline = FramePipeline(
            model=bench.model,
            queue=self.queue,
            ledger=self.ledger,
            compute=bench.compute,
            controller=cast(Controller, self.controller),
            certifier=Certifier(self.fidelity, bench.stages, bench.compute, lambda: None),
            stages=bench.stages,
            uplink=cast(Uplink, self.uplink),
            record=self._keep,
        )

    async def _right(self, frame: int, epoch: int, entries: Sequence[TensorEntry], payload: bytes) -> Reply:
        cut = self.controller.active.plan.cut
        return self._bench.reply(frame, epoch, self._bench.tail(cut, entries, payload))

    async def _keep(self, record: FrameRecord) -> None:
        self.records.append(record)
        self.ledger.note(FrameEvent.FAILED if record.error else FrameEvent.ANSWERED)

    def put(self, frame: Frame) -> None:
        """Have a frame wait, as a source does."""
        self.ledger.note(FrameEvent.SEEN)
        self.queue.put_nowait(frame)

    async def give(self, frames: Sequence[Frame], lanes: int = 4) -> list[FrameRecord]:
        """Run frames through to the queue's end; return the records by frame."""
        for frame in frames:
            self.put(frame)
        self.queue.put_nowait(None)
        await self.pipeline.run(lanes, self.stop)
        assert self.ledger.counts.in_flight == self.ledger.counts.recording == 0
        return sorted(self.records, key=lambda record: record.frame.number)


def on_edge(record: FrameRecord) -> float | None:
    """What a frame took on the edge: its head, and the encoding where something is sent."""
    head_ms, encode_ms = record.durations.head_ms, record.durations.encode_ms
    return head_ms if head_ms is None or encode_ms is None else head_ms + encode_ms


def frames(count: int) -> list[Frame]:
    return [frame_of(i, jpeg(i)) for i in range(count)]


def assert_right(record: FrameRecord) -> None:
    """The answer is the unsplit model's."""
    assert record.error is None
    assert tuple(label.index for label in record.top5) == classes_of(bytes(record.frame.data))
