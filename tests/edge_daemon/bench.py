"""The tiny model on an edge, with its parts compiled on a compute thread."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import torch

from common.plan import Cut, Mode, Plan, Prediction, stages_of
from common.wire.incoming import aligned_buffer
from common.wire.messages import Answer
from common.wire.tensors import TensorEntry
from edge_daemon.active_plan import ActivePlan, prepare_parts
from edge_daemon.frame import Frame, ImageFile
from edge_daemon.frames_away import Reply
from models.compute import ComputeThread
from models.crossing import from_wire, to_wire
from models.executor import TorchExecutor
from models.model import Model
from models.preprocess import as_frame, top_classes
from models.stage_threads import StageThreads
from models.stages import Stages
from tests.tiny_model import jpeg, tiny_model


@dataclass
class Bench:
    model: Model
    stages: Stages
    compute: ComputeThread

    async def plan(self, cut: Cut, epoch: int = 1, mode: Mode = Mode.LIGHT) -> ActivePlan:
        """Make a plan of `cut` ready to run."""
        parts = await prepare_parts(cut, self.model.graph, self.stages, self.compute)
        stages = stages_of(cut, self.model.graph.sink)
        prediction = Prediction(edge_ms=1.0, link_ms=1.0, cloud_ms=1.0, latency_ms=3.0)
        return ActivePlan(
            Plan(epoch=epoch, mode=mode, cut=cut, stages=stages, reason="a test", prediction=prediction),
            parts,
        )

    def tail(self, cut: Cut, entries: Sequence[TensorEntry], payload: bytes) -> torch.Tensor:
        """Run the cloud's part, from the bytes that crossed."""
        tensors = from_wire(self.model.graph, entries, memoryview(bytearray(payload)))
        compiled = self.stages.prepare(cut.cloud_units, (self.model.graph.sink,))
        return compiled.run(tensors)[self.model.graph.sink]

    def reply(self, frame: int, epoch: int, answer: torch.Tensor, name: str | None = None) -> Reply:
        """Make the cloud's reply of an answer."""
        graph = self.model.graph
        entries, chunks = to_wire(graph, {name or graph.sink: answer})
        return Reply(
            Answer(
                frame=frame,
                epoch=epoch,
                receive_ms=1.0,
                spaced_bytes=100,
                queue_ms=0.5,
                tail_ms=2.0,
                cloud_ms=3.0,
                others_ms=0.0,
                batch=1,
                tensors=entries,
            ),
            memoryview(bytearray(b"".join(chunks))),
            10.0,
        )


@contextlib.contextmanager
def bench() -> Iterator[Bench]:
    """Set the tiny model up, with a compute thread, and those beside it, that end with the block."""
    compute, beside = ComputeThread("test"), StageThreads.begin(gives_way=True)
    try:
        yield Bench(tiny_model(), Stages(tiny_model(), TorchExecutor(), jpeg(), beside=beside), compute)
    finally:
        compute.stop(5.0)
        beside.stop(5.0)


def frame_of(number: int, data: bytes, error: str | None = None) -> Frame:
    buffer = aligned_buffer(len(data))
    buffer[:] = data
    return Frame(number, ImageFile(f"{number}.jpg", len(data), 0), time.perf_counter(), buffer, error)


@cache
def classes_of(data: bytes) -> tuple[int, ...]:
    """The answer of the unsplit model: its classes, the likeliest first."""
    model = tiny_model()
    whole = TorchExecutor().compile(model.segment(model.graph.names, [model.graph.sink]))
    answer = whole.run({model.graph.source: as_frame(data)})[model.graph.sink]
    return tuple(index for index, _, _ in top_classes(answer[0], model.labels))
