"""Tensors as bytes: their entries in a message header, and where they lie in its payload.

payload = tensor 0 | zeros up to the next multiple of 64 | tensor 1 | … | tensor n-1
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from common import limits
from common.errors import PlanError, RemoteProtocolError
from common.graph import TensorSpec
from common.wire import codecs

ROW_MAJOR: tuple[int, ...] = ()
"""The order of a tensor whose last dimension varies fastest in memory."""


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor of a message: the unit it comes from (its index in the graph), its type and shape, and its
    length in bytes as `codec` has made it.

    `order` says how its elements lie in memory: the dimensions from the one that varies slowest to the one that
    varies fastest; `ROW_MAJOR` stands for (0, 1, 2, …). An image network's tensors are (0, 2, 3, 1): channels last.
    """

    unit: int
    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    codec: str = codecs.RAW
    order: tuple[int, ...] = ROW_MAJOR
    spec: TensorSpec = field(init=False, repr=False, compare=False)
    """Type and shape, in one."""

    def __post_init__(self) -> None:
        if type(self.unit) is not int or not 0 <= self.unit < limits.MAX_UNITS:
            raise RemoteProtocolError(
                f"tensor of unit {self.unit!r:.80}: not an index below {limits.MAX_UNITS}"
            )
        if not isinstance(self.shape, tuple) or len(self.shape) > limits.MAX_RANK:
            raise RemoteProtocolError(f"tensor of unit {self.unit}: rank above {limits.MAX_RANK}")
        # Also beside a size of 0: the strides of such a shape are beyond 64 bits.
        elements = 1
        for size in self.shape:
            if type(size) is not int or not 0 <= size <= limits.MAX_PAYLOAD_BYTES:
                raise RemoteProtocolError(
                    f"tensor of unit {self.unit}: shape {self.shape!r:.80} is not of plain sizes"
                )
            elements *= size or 1
        if not isinstance(self.codec, str) or not codecs.is_known(self.codec):
            raise RemoteProtocolError(f"tensor of unit {self.unit}: codec {self.codec!r:.80} is not known")
        if self.order != ROW_MAJOR and not self._order_is_a_permutation():
            raise RemoteProtocolError(
                f"tensor of unit {self.unit}: {self.order!r:.80} is no order of its {len(self.shape)} dimensions"
            )
        try:
            spec = TensorSpec(self.dtype, self.shape)
        except (PlanError, TypeError) as error:
            raise RemoteProtocolError(f"tensor of unit {self.unit}: {error!s:.200}") from None
        object.__setattr__(self, "spec", spec)
        decoded = max(spec.nbytes, elements)
        if decoded > limits.MAX_PAYLOAD_BYTES:
            raise RemoteProtocolError(
                f"tensor of unit {self.unit}: {decoded} bytes, the limit is {limits.MAX_PAYLOAD_BYTES}"
            )
        if not codecs.fits(self.codec, spec):
            raise RemoteProtocolError(
                f"tensor of unit {self.unit}: {self.codec} is not for {spec.dtype}{list(spec.shape)}"
            )
        wanted = codecs.wrong_size(self.codec, spec, self.nbytes) if type(self.nbytes) is int else "a number"
        if wanted is not None:
            raise RemoteProtocolError(
                f"tensor of unit {self.unit}: {self.nbytes!r:.40} bytes announced, its shape and type make {wanted}"
            )

    def _order_is_a_permutation(self) -> bool:
        if not isinstance(self.order, tuple) or any(type(dimension) is not int for dimension in self.order):
            return False
        return sorted(self.order) == list(range(len(self.shape)))


@lru_cache(maxsize=256, typed=True)
def _entry(unit: int, dtype: str, nbytes: int, codec: str, rank: int, *shape_and_order: int) -> TensorEntry:
    return TensorEntry(unit, dtype, shape_and_order[:rank], nbytes, codec, shape_and_order[rank:])


def entry_of(
    unit: int, dtype: str, shape: tuple[int, ...], nbytes: int, codec: str, order: tuple[int, ...]
) -> TensorEntry:
    """Return the entry of these fields, as `TensorEntry` checks them: once, for all the frames that have the same.

    True and 1.0 are not the 1 that was found right. Those that a peer makes up push each other out.
    """
    if type(shape) is not tuple or type(order) is not tuple:
        return TensorEntry(unit, dtype, shape, nbytes, codec, order)
    return _entry(unit, dtype, nbytes, codec, len(shape), *shape, *order)


def check_decoded_bytes(entries: Sequence[TensorEntry]) -> None:
    """Raise `RemoteProtocolError` for tensors that would take more memory, decoded, than a payload may have."""
    if len(entries) < 2:
        return  # each was checked by itself
    decoded = sum(entry.spec.nbytes for entry in entries)
    if decoded > limits.MAX_PAYLOAD_BYTES:
        raise RemoteProtocolError(
            f"{len(entries)} tensors of {decoded} bytes, decoded; the limit is {limits.MAX_PAYLOAD_BYTES}"
        )


def padding_after(nbytes: int) -> int:
    """Zeros between a tensor of `nbytes` and the next one."""
    return -nbytes % limits.TENSOR_ALIGNMENT


def payload_bytes(entries: Sequence[TensorEntry]) -> int:
    """Length of the payload that holds `entries`."""
    if not entries:
        return 0
    return sum(e.nbytes + padding_after(e.nbytes) for e in entries) - padding_after(entries[-1].nbytes)


def join(tensors: Sequence[memoryview]) -> list[memoryview | bytes]:
    """Lay tensors (as bytes) out for sending, without copying them: the buffers to write one after another."""
    chunks: list[memoryview | bytes] = []
    for i, tensor in enumerate(tensors):
        chunks.append(tensor)
        if i + 1 < len(tensors) and (gap := padding_after(tensor.nbytes)):
            chunks.append(bytes(gap))
    return chunks


def split(entries: Sequence[TensorEntry], payload: memoryview) -> list[memoryview]:
    """Find the tensors in a received payload, without copying them.

    Raises `RemoteProtocolError` when the payload has not the length that the entries add up to.
    """
    if len(entries) == 1 and payload.nbytes == entries[0].nbytes:
        return [payload]  # as at most cuts
    expected = payload_bytes(entries)
    if payload.nbytes != expected:
        raise RemoteProtocolError(
            f"payload of {payload.nbytes} bytes, its {len(entries)} tensors make {expected}"
        )
    views, at = [], 0
    for entry in entries:
        views.append(payload[at : at + entry.nbytes])
        at += entry.nbytes + padding_after(entry.nbytes)
    return views
