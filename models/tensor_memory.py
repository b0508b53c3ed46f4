"""Tensors and the memory they lie in: their type's name, the order of their dimensions, views without copies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import torch

from common.errors import PlanError
from common.graph import DTYPE_BYTES, TensorSpec
from common.wire.tensors import ROW_MAJOR

_TORCH: Mapping[str, torch.dtype] = {name: getattr(torch, name) for name in DTYPE_BYTES}
_NAMES: Mapping[torch.dtype, str] = {dtype: name for name, dtype in _TORCH.items()}
_NUMPYS_OWN = (torch.float32, torch.float64, torch.uint8)
_CHANNELS_LAST = (0, 2, 3, 1)
"""What executors make of most networks' tensors: known without looking at the strides, for each frame."""


def dtype_name(dtype: torch.dtype) -> str:
    """Return the wire's name of a torch type. Raises `PlanError` for types that cannot cross."""
    name = _NAMES.get(dtype)
    if name is None:
        raise PlanError(f"tensors of type {dtype} cannot cross the wire")
    return name


def spec_of(tensor: torch.Tensor) -> TensorSpec:
    """Return a tensor's type and shape. Raises `PlanError` for types that cannot cross."""
    return _spec(tensor.dtype, tuple(tensor.shape))


@lru_cache(maxsize=256)
def _spec(dtype: torch.dtype, shape: tuple[int, ...]) -> TensorSpec:
    return TensorSpec(dtype_name(dtype), shape)


def dense(tensor: torch.Tensor) -> tuple[torch.Tensor, tuple[int, ...]]:
    """Return `tensor` in memory without gaps, and the order of its dimensions there, for `TensorEntry.order`.

    It is copied only if it has gaps (a slice of a larger tensor) or repeats elements (an expanded one).
    """
    if tensor.is_contiguous():
        return tensor, ROW_MAJOR
    if tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last):
        return tensor, _CHANNELS_LAST
    strides = tensor.stride()
    order = tuple(sorted(range(tensor.dim()), key=lambda dimension: -strides[dimension]))
    if tensor.permute(order).is_contiguous():
        return tensor, order
    return tensor.contiguous(), ROW_MAJOR


def in_memory_order(tensor: torch.Tensor, order: tuple[int, ...]) -> memoryview:
    """Return a tensor's elements as they lie in memory, where `order` is that of its dimensions there."""
    if not order and tensor.dtype in _NUMPYS_OWN and tensor.numel() and tensor.dim():
        return tensor.numpy().data.cast("B")  # half the time of the general way, for each frame
    flat = (tensor.permute(order) if order else tensor).reshape(-1)
    return flat.view(torch.uint8).numpy().data if flat.numel() else memoryview(b"")


def tensor_of(data: memoryview | bytearray, spec: TensorSpec, order: tuple[int, ...]) -> torch.Tensor:
    """Return the tensor whose elements lie in `data` (writable) in this order; it shares the memory."""
    dtype = _TORCH[spec.dtype]
    flat = torch.frombuffer(data, dtype=dtype) if spec.nbytes else torch.empty(0, dtype=dtype)
    if not order:
        return flat.view(spec.shape)
    in_memory, back = _turned(spec.shape, order)
    return flat.view(in_memory).permute(back)


@lru_cache(maxsize=256)
def _turned(shape: tuple[int, ...], order: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the sizes of dimensions as they lie in memory, and where each dimension is found there."""
    back = sorted(range(len(order)), key=lambda dimension: order[dimension])
    return tuple(shape[dimension] for dimension in order), tuple(back)


def concatenated(
    tensors: Sequence[torch.Tensor], layout: torch.memory_format = torch.preserve_format
) -> torch.Tensor:
    """Join tensors along the first dimension, in the memory order that is asked for; a single one is not copied.

    Without one channels-last tensors stay so.
    """
    if len(tensors) == 1:
        return tensors[0]
    if layout is torch.preserve_format:
        return torch.cat(list(tensors))
    first, rows = tensors[0], sum(tensor.shape[0] for tensor in tensors)
    joined = torch.empty((rows, *first.shape[1:]), dtype=first.dtype, memory_format=layout)
    return torch.cat(list(tensors), out=joined)


def divided(tensor: torch.Tensor, count: int) -> tuple[torch.Tensor, ...]:
    """Divide a tensor into equal parts along the first dimension. Raises `RuntimeError` where that cannot be."""
    if count == 1:
        return (tensor,)
    _check_division(tensor, count)
    return tensor.chunk(count)


def spec_of_part(tensor: torch.Tensor, count: int) -> TensorSpec:
    """Return the type and shape of one of so many equal parts; raises as `divided` and `spec_of`."""
    _check_division(tensor, count)
    return _spec(tensor.dtype, (tensor.shape[0] // count, *tensor.shape[1:]))


def _check_division(tensor: torch.Tensor, count: int) -> None:
    if tensor.dim() == 0 or tensor.shape[0] % count:
        raise RuntimeError(f"an output of shape {list(tensor.shape)} does not divide into {count} frames")
