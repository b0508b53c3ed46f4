"""Check on this machine that cutting changes nothing: head and tail give what the whole gives, at every cut."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from common.partition.closed_sets import ClosedSets
from common.plan import Cut
from models.executor import Executor
from models.model import Model
from models.preprocess import as_frame


@dataclass(frozen=True, slots=True)
class Deviation:
    """How far a cut's logits are from the whole's, relative to the whole's largest one."""

    cut: Cut
    relative: float


def deviations(model: Model, executor: Executor, sets: ClosedSets, frame: bytes) -> Iterator[Deviation]:
    """Run every legal cut that leaves something to the cloud, head and tail joined by the crossing tensors only.

    Yields a deviation for each; raises `FrameError` for a frame that is no image.
    """
    graph = model.graph
    (logits,) = graph[graph.sink].inputs
    whole = _run(model, executor, graph.names, (logits,), {graph.source: as_frame(frame)})[logits]
    largest = float(whole.abs().max())
    for row in range(len(sets)):
        cut = sets.cut(row)
        if not cut.cloud_units:
            continue
        tensors = _run(model, executor, cut.edge_units, cut.crossing, {graph.source: as_frame(frame)})
        if logits in cut.cloud_units:
            tensors = _run(model, executor, cut.cloud_units, (logits,), tensors)
        worst = float((tensors[logits] - whole).abs().max())
        yield Deviation(cut, worst / largest if largest else worst)


def _run(
    model: Model,
    executor: Executor,
    units: tuple[str, ...],
    outputs: tuple[str, ...],
    tensors: dict[str, torch.Tensor],
) -> dict[str, torch.Tensor]:
    return executor.compile(model.segment(units, outputs)).run(tensors)
