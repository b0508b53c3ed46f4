"""Crossing tensors: between torch and the bytes of the wire, without copying."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from common.errors import PlanError
from common.graph import DTYPE_BYTES, ModelGraph
from common.wire.tensors import ROW_MAJOR, TensorEntry, join, split

_TORCH: Mapping[str, torch.dtype] = {name: getattr(torch, name) for name in DTYPE_BYTES}
_NAMES: Mapping[torch.dtype, str] = {dtype: name for name, dtype in _TORCH.items()}


def dtype_name(dtype: torch.dtype) -> str:
    """Return the wire's name of a torch type. Raises `PlanError` for types that cannot cross."""
    if dtype not in _NAMES:
        raise PlanError(f"tensors of type {dtype} cannot cross the wire")
    return _NAMES[dtype]


def dense(tensor: torch.Tensor) -> tuple[torch.Tensor, tuple[int, ...]]:
    """Return `tensor` in memory without gaps, and the order of its dimensions there, for `TensorEntry.order`.

    It is copied only if it has gaps (a slice of a larger tensor) or repeats elements (an expanded one).
    """
    if tensor.is_contiguous():
        return tensor, ROW_MAJOR
    strides = tensor.stride()
    order = tuple(sorted(range(tensor.dim()), key=lambda dimension: -strides[dimension]))
    if tensor.permute(order).is_contiguous():
        return tensor, order
    return tensor.contiguous(), ROW_MAJOR


def _reshaped(flat: torch.Tensor, entry: TensorEntry) -> torch.Tensor:
    if not entry.order:
        return flat.reshape(entry.shape)
    in_memory = flat.reshape([entry.shape[dimension] for dimension in entry.order])
    back = sorted(range(len(entry.order)), key=lambda dimension: entry.order[dimension])
    return in_memory.permute(back)


def to_wire(
    graph: ModelGraph, tensors: Mapping[str, torch.Tensor]
) -> tuple[tuple[TensorEntry, ...], list[memoryview | bytes]]:
    """Describe CPU tensors by unit name, and return the payload's buffers, which share their memory."""
    entries, views = [], []
    for name, tensor in tensors.items():
        tensor, order = dense(tensor.detach())
        flat = (tensor.permute(order) if order else tensor).reshape(-1)
        views.append(flat.view(torch.uint8).numpy().data if flat.numel() else memoryview(b""))
        nbytes = math.prod(tensor.shape) * tensor.element_size()
        shape = tuple(tensor.shape)
        entries.append(TensorEntry(graph.index[name], dtype_name(tensor.dtype), shape, nbytes, order=order))
    return tuple(entries), join(views)


def from_wire(
    graph: ModelGraph, entries: Sequence[TensorEntry], payload: memoryview
) -> dict[str, torch.Tensor]:
    """Return the tensors of a payload by unit name; they share its memory.

    Raises `RemoteProtocolError` when payload and entries do not fit each other, `PlanError` for an index
    beyond the graph.
    """
    tensors: dict[str, torch.Tensor] = {}
    for entry, view in zip(entries, split(entries, payload), strict=True):
        if entry.unit >= len(graph):
            raise PlanError(f"tensor of unit {entry.unit}: the graph has {len(graph)} units")
        dtype = _TORCH[entry.dtype]
        flat = torch.frombuffer(view, dtype=dtype) if entry.nbytes else torch.empty(0, dtype=dtype)
        tensors[graph.units[entry.unit].name] = _reshaped(flat, entry)
    return tensors


def frame_tensor(data: memoryview) -> torch.Tensor:
    """Return a frame's file bytes (writable memory) as the uint8 tensor that the source unit stands for."""
    return torch.frombuffer(data, dtype=torch.uint8)
