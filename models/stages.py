"""Segments compiled and warm, kept while they may be needed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, Protocol, TypeVar

import torch

from models.crossing import frame_tensor
from models.executor import CompiledSegment, Executor, Pace
from models.model import Model
from models.segment import Segment


class Warmed(Protocol):
    """What can be made ready by running it once."""

    def warm(self, inputs: Mapping[str, torch.Tensor]) -> None: ...


Ready = TypeVar("Ready", bound=Warmed)


class KeptStages(Generic[Ready]):
    """The stages of one model in the form that `make` gives them. Use it from the compute thread only."""

    def __init__(self, model: Model, sample: bytes, most_kept: int, make: Callable[[Segment], Ready]) -> None:
        self.model = model
        self._make = make
        self._most_kept = most_kept
        self._sample = frame_tensor(memoryview(bytearray(sample)))
        self._kept: OrderedDict[tuple[tuple[str, ...], tuple[str, ...]], Ready] = OrderedDict()

    def prepare(self, units: Iterable[str], outputs: Iterable[str]) -> Ready:
        """Return the segment of `units` that gives `outputs`, compiled and run once so that it is warm.

        Raises `PlanError` for unknown units and for outputs that are not among them.
        """
        key = (tuple(units), tuple(outputs))
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        segment = self.model.segment(*key)
        compiled = self._make(segment)
        compiled.warm(self.example(segment))
        self._kept[key] = compiled
        while len(self._kept) > self._most_kept:
            self._kept.popitem(last=False)
        return compiled

    def keeps(self, ready: Ready) -> bool:
        """Say whether `ready` is still kept."""
        return any(kept is ready for kept in self._kept.values())

    def example(self, segment: Segment) -> dict[str, torch.Tensor]:
        """Return inputs for a segment: a sample frame, and zeros of the right types and shapes."""
        graph = self.model.graph
        example: dict[str, torch.Tensor] = {}
        for name in segment.inputs:
            spec = graph[name].output
            if name == graph.source:
                example[name] = self._sample
            else:
                assert spec is not None, f"{name} has no shape"
                example[name] = torch.zeros(spec.shape, dtype=getattr(torch, spec.dtype))
        return example


class Stages(KeptStages[CompiledSegment]):
    """The compiled segments of one model on one executor."""

    def __init__(self, model: Model, executor: Executor, sample: bytes, most_kept: int | None = None) -> None:
        super().__init__(model, sample, most_kept or executor.most_kept, executor.compile)
        self.pace: Pace = executor.pace
        """What all work for a frame goes by, also what no segment does."""
