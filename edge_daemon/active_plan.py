"""A plan with what it takes to run it on the edge, compiled and warm."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from common.errors import LinkError
from common.graph import ModelGraph
from common.plan import Cut, Plan, Stage, stages_of
from common.wire.messages import MeasureRequest, Prepare
from common.wire.tensors import TensorEntry
from models.compute import ComputeThread, Patience
from models.crossing import to_wire
from models.executor import CompiledSegment
from models.stages import Stages


@dataclass(frozen=True, slots=True)
class EdgeParts:
    """A cut's segments on the edge.

    `head` runs the edge's units (none when that is only the source: there is nothing to compute). `rest` runs
    the cloud's units from the crossing tensors, for when the cloud lets a frame down (none for edge-only).
    """

    head: CompiledSegment | None
    rest: CompiledSegment | None


@dataclass(frozen=True, slots=True)
class ActivePlan:
    """What frames run under from now on."""

    plan: Plan
    parts: EdgeParts

    @property
    def uses_cloud(self) -> bool:
        return bool(self.plan.cut.cloud_units)


async def prepare_parts(
    cut: Cut,
    graph: ModelGraph,
    stages: Stages,
    compute: ComputeThread,
    patience: Patience = Patience.PREPARE,
) -> EdgeParts:
    """Compile and warm a cut's segments: beside frames if the executor can, else before them or with `patience`."""
    head_stage = stages_of(cut, graph.sink)[0]
    head = rest = None
    if head_stage.units != (graph.source,):
        outputs = tuple(output.unit for output in head_stage.outputs)
        head = await stages.prepare_beside(head_stage.units, outputs, compute, patience)
    if cut.cloud_units:
        # After the frame itself the rest is the whole, which an edge has ready at all times.
        units = cut.cloud_units if head is not None else graph.names
        rest = await stages.prepare_beside(units, (graph.sink,), compute, patience)
    return EdgeParts(head, rest)


def prepare_request(epoch: int, stage: Stage, graph: ModelGraph) -> Prepare:
    """Say a stage as the message that asks the cloud to have it ready."""
    return Prepare(epoch=epoch, **_indices(stage, graph))


def measure_request(number: int, stage: Stage, graph: ModelGraph) -> MeasureRequest:
    """Say a stage as the message that asks the cloud to measure it."""
    return MeasureRequest(number=number, **_indices(stage, graph))


def _indices(stage: Stage, graph: ModelGraph) -> dict[str, Any]:
    index = graph.index
    return {
        "units": tuple(index[name] for name in stage.units),
        "inputs": tuple(index[name] for name in stage.inputs),
        "outputs": tuple((index[output.unit], output.destination) for output in stage.outputs),
    }


@dataclass(frozen=True, slots=True)
class Sent:
    """A frame's head as it is to be sent: the crossing tensors (kept, should the cloud let the frame down), their
    entries and the payload, and what it took in ms to compute and to encode.

    `error`: they cannot be sent (too large, say), and why; there are no entries then.
    """

    crossing: Mapping[str, torch.Tensor]
    entries: tuple[TensorEntry, ...]
    chunks: Sequence[memoryview | bytes]
    head_ms: float | None
    encode_ms: float
    error: LinkError | None = None

    @property
    def nbytes(self) -> int:
        """Length of the payload."""
        return sum(memoryview(chunk).nbytes for chunk in self.chunks)


def run_head(cut: Cut, head: CompiledSegment | None, stages: Stages, frame: torch.Tensor) -> Sent:
    """Run a frame's head and encode what crosses `cut`; with no head the frame itself is what crosses."""
    graph = stages.model.graph
    began = time.perf_counter()
    crossing = head.run({graph.source: frame}) if head is not None else {graph.source: frame}
    between = time.perf_counter()
    head_ms = (between - began) * 1e3 if head is not None else None
    try:
        if cut.codecs:
            entries, chunks = stages.pace.run(lambda: to_wire(graph, crossing, cut.codec_of))
        else:
            entries, chunks = to_wire(graph, crossing)  # nothing is computed
    except LinkError as error:
        return Sent(crossing, (), (), head_ms, 0.0, error)
    return Sent(crossing, entries, chunks, head_ms, (time.perf_counter() - between) * 1e3)
