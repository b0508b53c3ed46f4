"""Crossing tensors: between torch and the payload of a message; sent raw, without copying."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from common.errors import PlanError
from common.graph import ModelGraph
from common.wire.codecs import RAW
from common.wire.tensors import TensorEntry, join, split
from models.codecs import decode, encode


def to_wire(
    graph: ModelGraph, tensors: Mapping[str, torch.Tensor], codecs: Mapping[str, str] | None = None
) -> tuple[tuple[TensorEntry, ...], list[memoryview | bytes]]:
    """Describe CPU tensors by unit name, and return the payload's buffers.

    `codecs` names a unit's codec where that is not `raw`. A raw tensor's buffer is its own memory.
    """
    entries, views = [], []
    for name, tensor in tensors.items():
        encoded = encode((codecs or {}).get(name, RAW), tensor)
        entries.append(encoded.entry(graph.index[name]))
        views.append(encoded.data)
    return tuple(entries), join(views)


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
