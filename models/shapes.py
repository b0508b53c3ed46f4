"""What each node of a traced network yields, seen at two batch sizes.

Two runs tell what depends on the batch: a size that is equal in both is a constant of the model, one that
grows with the batch is a multiple of it. The runs use meta tensors (shapes without data), so they cost
milliseconds whatever the model's size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import fx
from torch.func import functional_call

from common.errors import ModelError

BATCHES = (2, 3)


@dataclass(frozen=True, slots=True)
class TensorSeen:
    """Shape and element type of a tensor."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def nbytes(self) -> int:
        count = 1
        for size in self.shape:
            count *= size
        return count * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class Sighting:
    """One node's value at batch 2 and 3, each tensor in it replaced by a `TensorSeen`."""

    at_two: Any
    at_three: Any

    @property
    def is_tensor(self) -> bool:
        return isinstance(self.at_two, TensorSeen)

    @property
    def holds_tensor(self) -> bool:
        return _holds_tensor(self.at_two)

    @property
    def at_one(self) -> TensorSeen:
        """The tensor at batch 1: sizes are linear in the batch."""
        two, three = self.at_two, self.at_three
        sizes = zip(two.shape, three.shape, strict=True)
        return TensorSeen(tuple(2 * a - b for a, b in sizes), two.dtype)

    def batch_axis(self) -> tuple[int, int] | None:
        """Return (axis, sizes per frame) of the first axis that grows with the batch; none if none does."""
        for axis, (a, b) in enumerate(zip(self.at_two.shape, self.at_three.shape, strict=True)):
            if a != b and 3 * a == 2 * b:
                return axis, a // 2
        return None


Sightings = Mapping[fx.Node, Sighting]


def observe(traced: fx.GraphModule, input_shape: tuple[int, ...]) -> dict[fx.Node, Sighting]:
    """Run `traced` on meta tensors float32[batch, *input_shape] and note what each node yields.

    Raises `ModelError`, with torch's own words, where the network cannot run so: because its input has the
    wrong size, or because what it does depends on the values in a tensor.
    """
    two, three = (_run(traced, (batch, *input_shape)) for batch in BATCHES)
    return {node: Sighting(two[node], three[node]) for node in traced.graph.nodes}


def _run(traced: fx.GraphModule, shape: tuple[int, ...]) -> dict[fx.Node, Any]:
    observer = _Observer(traced)
    try:
        # Tensors the network makes by itself (torch.arange) must be meta tensors too.
        with torch.device("meta"), torch.no_grad():
            observer.run(torch.empty(shape))
    except Exception as error:  # whatever a foreign model raises, the model is at fault
        reason = str(error).partition("\n")[0]
        raise ModelError(f"the network does not run on an input of shape {list(shape)}: {reason}") from error
    return observer.seen


class _Observer(fx.Interpreter):
    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced)
        self.seen: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        self.seen[n] = _summary(value)
        return value

    def get_attr(self, target: Any, args: Any, kwargs: Any) -> Any:
        value = super().get_attr(target, args, kwargs)
        return _to_meta(value) if isinstance(value, torch.Tensor) else value

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        module = self.fetch_attr(target)
        tensors = chain(module.named_parameters(), module.named_buffers())
        state = {name: _to_meta(tensor) for name, tensor in tensors}
        return functional_call(module, state, args, kwargs)


def _to_meta(tensor: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(tensor, device="meta")


def _summary(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return TensorSeen(tuple(value.shape), value.dtype)
    if isinstance(value, tuple | list):
        return tuple(_summary(item) for item in value)
    if isinstance(value, dict):
        return {key: _summary(item) for key, item in value.items()}
    return value


def _holds_tensor(value: Any) -> bool:
    if isinstance(value, dict):
        value = tuple(value.values())
    return isinstance(value, TensorSeen) or (
        isinstance(value, tuple) and any(_holds_tensor(item) for item in value)
    )
