"""Crossing tensors: between torch and the payload of a message; sent raw, without copying."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from common.errors import PlanError
from common.graph import ModelGraph
from common.wire.codecs import RAW
from common.wire.tensors import ROW_MAJOR, TensorEntry, entry_of, join, split
from models.codecs import decode, encode
from models.tensor_memory import dense, in_memory_order, spec_of_part

Wired = tuple[tuple[TensorEntry, ...], list[memoryview | bytes]]
"""Tensors as a message says and holds them: their entries, and the payload's buffers."""


def to_wire(
    graph: ModelGraph, tensors: Mapping[str, torch.Tensor], codecs: Mapping[str, str] | None = None
) -> Wired:
    """Describe CPU tensors by unit name, and return the payload's buffers.

    `codecs` names a unit's codec where that is not `raw`. A raw tensor's buffer is its own memory.
    """
    entries, views = [], []
    for name, tensor in tensors.items():
        encoded = encode((codecs or {}).get(name, RAW), tensor)
        entries.append(encoded.entry(graph.index[name]))
        views.append(encoded.data)
    return tuple(entries), join(views)


def parts_to_wire(graph: ModelGraph, tensors: Mapping[str, torch.Tensor], count: int) -> list[Wired]:
    """As `to_wire`, raw, for each of `count` frames whose tensors lie one behind the other in these.

    Along the first dimension, that is. What is the same of all frames is found once, and the tensors stay whole.
    Raises `RuntimeError` for a tensor that does not divide into so many parts.
    """
    if count == 1:
        return [to_wire(graph, tensors)]
    entries: list[TensorEntry] = []
    views: list[list[memoryview]] = []
    for name, tensor in tensors.items():
        spec = spec_of_part(tensor, count)
        whole, order = dense(tensor.detach())
        if order and order[0] != 0:  # the frames do not lie behind each other in memory
            whole, order = whole.contiguous(), ROW_MAJOR
        data = in_memory_order(whole, order)
        entries.append(entry_of(graph.index[name], spec.dtype, spec.shape, spec.nbytes, RAW, order))
        views.append([data[i * spec.nbytes : (i + 1) * spec.nbytes] for i in range(count)])
    return [(tuple(entries), join([view[i] for view in views])) for i in range(count)]


def from_wire(
    graph: ModelGraph, entries: Sequence[TensorEntry], payload: memoryview
) -> dict[str, torch.Tensor]:
    """Return the tensors of a payload by unit name; those sent raw share its memory.

    Raises `RemoteProtocolError` when payload and entries do not fit each other, `PlanError` for an index
    beyond the graph.
    """
    tensors: dict[str, torch.Tensor] = {}
    for entry, view in zip(entries, split(entries, payload), strict=True):
        if entry.unit >= len(graph):
            raise PlanError(f"tensor of unit {entry.unit}: the graph has {len(graph)} units")
        tensors[graph.units[entry.unit].name] = decode(entry, view)
    return tensors


def frame_tensor(data: memoryview) -> torch.Tensor:
    """Return a frame's file bytes (writable memory) as the uint8 tensor that the source unit stands for."""
    return torch.frombuffer(data, dtype=torch.uint8)
