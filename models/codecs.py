"""Crossing tensors as bytes: encode on one machine, decode on the other. Names and sizes: `common/wire/codecs.py`.

Everything is vectorised and for a compute thread: 3 MB take milliseconds.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import zstandard
from numpy.typing import NDArray
from PIL import Image

from common import limits
from common.errors import RemoteProtocolError
from common.graph import TensorSpec
from common.wire import codecs
from common.wire.codecs import Loss
from common.wire.tensors import ROW_MAJOR, TensorEntry, entry_of
from models.jpeg import jpeg_scans
from models.memory_errors import is_out_of_memory
from models.tensor_memory import dense, in_memory_order, spec_of, tensor_of

_LEVEL = 1
"""Of zstd: higher ones gain a few percent for several times the time."""
_WEBP_EFFORT = 0
"""Likewise: 2 gains an eighth for four times the time."""
_WEBP_LOSSLESS_EFFORT = 0

_STEPS = np.float32(255.0)
_WIDEST = float(np.finfo(np.float32).max)
"""Between the extremes of values that int8 can say …"""
_NARROWEST = float(np.finfo(np.float32).tiny)
"""… and of a step: what is less has no inverse."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Encoded:
    """A tensor as it is sent: its type and shape, the codec, the order of its dimensions in memory, and the bytes."""

    spec: TensorSpec
    codec: str
    order: tuple[int, ...]
    data: memoryview

    @property
    def nbytes(self) -> int:
        return self.data.nbytes

    def entry(self, unit: int) -> TensorEntry:
        """Describe this as what the output of the unit with index `unit` was made to."""
        return entry_of(unit, self.spec.dtype, self.spec.shape, self.nbytes, self.codec, self.order)


class _Packers(threading.local):
    """zstd's contexts, one of each in a thread: making one costs more than packing a small tensor."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=_LEVEL, write_content_size=True)
        self.decompressor = zstandard.ZstdDecompressor()


_packers = _Packers()


def encode(codec: str, tensor: torch.Tensor) -> Encoded:
    """Encode a CPU tensor; by `raw` without copying it.

    What `codec` cannot say is sent `raw` instead: values that are not finite or too large, a type or shape that it
    is not for, an image that would not get shorter, or that the encoder fails at. What packing does not make shorter
    is sent without it.
    """
    tensor, order = dense(tensor.detach())
    spec = spec_of(tensor)
    if codec != codecs.RAW and codecs.fits(codec, spec):
        encoded = _encoded(codec, tensor, order)
        if encoded is not None:
            return Encoded(
                spec, encoded[0], order if not codecs.is_image_codec(codec) else ROW_MAJOR, encoded[1]
            )
    return Encoded(spec, codecs.RAW, order, in_memory_order(tensor, order))


def _encoded(codec: str, tensor: torch.Tensor, order: tuple[int, ...]) -> tuple[str, memoryview] | None:
    """Return what `codec` makes of a tensor, with the codec it is by then; none where it is better sent raw."""
    if codecs.is_image_codec(codec):
        try:
            data = _encode_image(codec, tensor)
        except (OSError, ValueError):  # Pillow's, for want of memory among others
            return None
        return (codec, data) if data.nbytes < tensor.nbytes else None
    values = _encode_values(codec, tensor, order)
    if values is None or not codecs.is_packed(codec):
        return None if values is None else (codec, values)
    try:
        packed = memoryview(_packers.compressor.compress(values))
    except zstandard.ZstdError:
        return codecs.unpacked(codec), values
    return (codec, packed) if packed.nbytes < values.nbytes else (codecs.unpacked(codec), values)


def decode(entry: TensorEntry, data: memoryview) -> torch.Tensor:
    """Decode what `encode` made; by `raw` sharing the memory of `data`.

    Raises `RemoteProtocolError` for bytes that do not make the tensor that `entry` announces; that there is no memory
    for it is not the peer's fault, and raised as it comes.
    """
    tensor = tensor_of(data, entry.spec, entry.order) if entry.codec == codecs.RAW else _decoded(entry, data)
    if entry.dtype == "bool" and bool((tensor.view(torch.uint8) > 1).any()):
        raise RemoteProtocolError(f"tensor of unit {entry.unit}: a bool that is neither 0 nor 1")
    return tensor


def _decoded(entry: TensorEntry, data: memoryview) -> torch.Tensor:
    try:
        if codecs.is_image_codec(entry.codec):
            return _decode_image(entry, data)
        return _decode_values(entry, data)
    except RemoteProtocolError:
        raise
    except Exception as error:  # damaged bytes may make a decoder raise anything
        if is_out_of_memory(error):
            raise
        raise RemoteProtocolError(
            f"tensor of unit {entry.unit}: {entry.nbytes} bytes are no {entry.codec} ({error})"[:300]
        ) from error


def received(codec: str, tensor: torch.Tensor) -> torch.Tensor:
    """Return `tensor` as it is found at the other end of the wire."""
    encoded = encode(codec, tensor)
    return decode(encoded.entry(0), encoded.data)


# --- values ---------------------------------------------------------------------------------------------
def _encode_values(codec: str, tensor: torch.Tensor, order: tuple[int, ...]) -> memoryview | None:
    """Return what is to be packed, or sent; none for values that the codec cannot say."""
    match codecs.loss_of(codec):
        case Loss.F16:
            return _halve(tensor, order)
        case Loss.INT8 if _lies_in_rows(tensor.shape, order):
            return _quantise_rows(tensor.numpy().transpose(order).reshape(-1, tensor.shape[1]))
        case Loss.INT8:
            return _quantise(tensor, order)
        case _:
            return in_memory_order(tensor, order)


def _decode_values(entry: TensorEntry, data: memoryview) -> torch.Tensor:
    values = data
    if codecs.is_packed(entry.codec):
        values = memoryview(_unpack(data, codecs.unpacked_bytes(entry.codec, entry.spec)))
    match codecs.loss_of(entry.codec):
        case Loss.F16:
            half = tensor_of(_writable(values), TensorSpec("float16", entry.shape), entry.order)
            return half.to(torch.float32)
        case Loss.INT8:
            return _dequantise(entry, values)
        case _:
            return tensor_of(_writable(values), entry.spec, entry.order)


def _unpack(data: memoryview, nbytes: int) -> bytes:
    """Unpack to exactly `nbytes`; how long it gets is known before anything is allocated."""
    announced = zstandard.frame_content_size(data)
    if announced != nbytes:
        raise ValueError(f"it holds {announced} bytes, not {nbytes}")
    return _packers.decompressor.decompress(data, max_output_size=nbytes, allow_extra_data=False)


def _writable(values: memoryview) -> memoryview | bytearray:
    return bytearray(values) if values.readonly else values


@torch.inference_mode()
def _halve(tensor: torch.Tensor, order: tuple[int, ...]) -> memoryview | None:
    half = tensor.to(torch.float16)
    return in_memory_order(half, order) if bool(half.isfinite().all()) else None


@torch.inference_mode()
def _quantise(tensor: torch.Tensor, order: tuple[int, ...]) -> memoryview | None:
    """Make one byte of each float: round(x / scale) + zero, with 0.0 a step of its own in every channel.

    Networks are full of exact zeros (ReLU, padding): they stay exact, and pack well. A channel that is constant
    zero has scale 1. None for values that are not finite, or too far apart for a float32 scale.
    """
    by_slice = _by_slice(tensor)
    every_other = [d for d in range(by_slice.dim()) if d != 1]
    # A few numbers a channel: numpy has done with them before torch has begun.
    found = _steps(by_slice.amin(every_other).numpy(), by_slice.amax(every_other).numpy())
    if found is None:
        return None
    scale, inverse, zero = found
    shape = [1, -1] + [1] * (by_slice.dim() - 2)
    steps = by_slice * torch.from_numpy(inverse).view(shape)
    values = steps.round_().add_(torch.from_numpy(zero).view(shape)).clamp_(0, 255).to(torch.uint8)
    parameters = scale.tobytes() + zero.tobytes()
    return memoryview(parameters + bytes(in_memory_order(values.view(tensor.shape), order)))


def _quantise_rows(rows: Floats) -> memoryview | None:
    """Do the same for channels that lie beside each other in memory, float32[all else, channels].

    By numpy, half the time of torch, which goes through such a tensor a few numbers at a time.
    """
    found = _steps(np.minimum.reduce(rows, axis=0), np.maximum.reduce(rows, axis=0))
    if found is None:
        return None
    scale, inverse, zero = found
    steps = rows * inverse
    np.rint(steps, out=steps)
    if np.count_nonzero(zero):  # else, behind a ReLU, nothing is below 0, and no rounding adds up to 256
        steps += zero
        np.maximum(steps, 0.0, out=steps)
        np.minimum(steps, _STEPS, out=steps)
    return memoryview(b"".join((scale.data, zero.data, steps.astype(np.uint8).data)))


def _steps(least: Floats, most: Floats) -> tuple[Floats, Floats, Floats] | None:
    """Return scale, its inverse and zero point of channels with these extremes, if there are such.

    A tensor's few numbers a channel take as long as the calls that are made for them: so few calls.
    """
    lowest, highest = float(np.minimum.reduce(least)), float(np.maximum.reduce(most))
    if not max(highest, 0.0) - min(lowest, 0.0) <= _WIDEST:  # it never is with NaN
        return None
    low = np.minimum(least, np.float32(0.0)) if lowest < 0 else None
    high = np.maximum(most, np.float32(0.0))
    scale: Floats = np.divide(high if low is None else high - low, _STEPS, dtype=np.float32)
    if np.minimum.reduce(scale) < _NARROWEST:
        scale[scale == 0] = 1.0
        if np.minimum.reduce(scale) < _NARROWEST:
            return None
    zero: Floats = np.zeros(scale.shape, np.float32) if low is None else np.rint(-low / scale)
    return scale, np.reciprocal(scale), zero


def _dequantise(entry: TensorEntry, data: memoryview) -> torch.Tensor:
    channels = codecs.slices(entry.spec)
    head = codecs.INT8_SLICE_BYTES * channels
    parameters = np.frombuffer(data[:head], dtype=np.float32)
    if not np.isfinite(parameters).all():
        raise ValueError("a scale is not finite")
    scale, zero = parameters[:channels], parameters[channels:]
    if _lies_in_rows(entry.shape, entry.order):
        rows = np.frombuffer(data[head:], dtype=np.uint8).reshape(-1, channels).astype(np.float32)
        with np.errstate(over="ignore"):  # by a peer's scale
            rows -= zero
            rows *= scale
        return tensor_of(rows.reshape(-1).data.cast("B"), entry.spec, entry.order)
    values = tensor_of(bytearray(data[head:]), TensorSpec("uint8", entry.shape), entry.order)
    by_slice = _by_slice(values)
    shape = [1, -1] + [1] * (by_slice.dim() - 2)
    steps = by_slice.to(torch.float32).sub_(torch.tensor(zero).view(shape))
    return steps.mul_(torch.tensor(scale).view(shape)).view(entry.shape)


def _lies_in_rows(shape: Sequence[int], order: Sequence[int]) -> bool:
    """Say whether the channels lie beside each other in memory."""
    return len(shape) >= 3 and bool(order) and order[-1] == 1


def _by_slice(tensor: torch.Tensor) -> torch.Tensor:
    """View a tensor with the dimension second that has a scale for each entry."""
    return tensor if tensor.dim() >= 3 else tensor.view(1, 1, *tensor.shape)


# --- images ---------------------------------------------------------------------------------------------
def _encode_image(codec: str, tensor: torch.Tensor) -> memoryview:
    picture = Image.fromarray(np.ascontiguousarray(tensor.numpy()))
    buffer = io.BytesIO()
    lossy = codecs.image_quality(codec)
    if lossy is None:
        picture.save(buffer, "WEBP", lossless=True, quality=0, method=_WEBP_LOSSLESS_EFFORT, exact=True)
    elif lossy[0] == "WEBP":
        picture.save(buffer, "WEBP", quality=lossy[1], method=_WEBP_EFFORT)
    else:
        picture.save(buffer, "JPEG", quality=lossy[1])
    return buffer.getbuffer()


def _decode_image(entry: TensorEntry, data: memoryview) -> torch.Tensor:
    lossy = codecs.image_quality(entry.codec)
    encoding = lossy[0] if lossy else "WEBP"
    if encoding == "JPEG" and (scans := jpeg_scans(bytes(data))) > limits.MAX_JPEG_SCANS:
        raise ValueError(f"it has {scans} scans, {limits.MAX_JPEG_SCANS} are allowed")
    with Image.open(io.BytesIO(data), formats=[encoding]) as picture:
        height, width = entry.shape[:2]
        if picture.size != (width, height):
            raise ValueError(f"it is an image of {picture.size[0]}x{picture.size[1]}, not {width}x{height}")
        pixels: NDArray[np.uint8] = np.array(picture.convert("RGB"))
    return torch.from_numpy(pixels)
