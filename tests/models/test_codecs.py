"""Facts about codecs: what they keep, what they lose at most, and what they refuse."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import RemoteProtocolError
from common.wire import codecs
from common.wire.tensors import TensorEntry
from models import codecs as module
from models.codecs import Encoded, decode, encode
from models.coding_profile import offered
from models.tensor_memory import spec_of

VALUE_CODECS = ("raw", "zstd", "f16", "f16-zstd", "int8", "int8-zstd")
IMAGE_CODECS = ("webp-lossless", "webp80", "jpeg90", "jpeg75")
CHANNELS_LAST = (0, 2, 3, 1)


def there_and_back(codec: str, tensor: torch.Tensor) -> tuple[torch.Tensor, Encoded]:
    encoded = encode(codec, tensor)
    return decode(encoded.entry(3), memoryview(bytearray(encoded.data))), encoded


def activations(*shape: int, seed: int = 0) -> torch.Tensor:
    """Return values as a ReLU leaves them: half of them zero, each channel of another size."""
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).relu_()
    return values * torch.linspace(0.1, 10, shape[1]).view(1, -1, *[1] * (len(shape) - 2))


def picture(height: int = 48, width: int = 64) -> torch.Tensor:
    across = torch.linspace(0, 255, width).expand(height, width)
    down = torch.linspace(0, 255, height).unsqueeze(1).expand(height, width)
    return torch.stack((across, down, (across + down) / 2), dim=2).to(torch.uint8)


@pytest.mark.parametrize("codec", ["raw", "zstd"])
@pytest.mark.parametrize("order", list(itertools.permutations(range(4))), ids=str)
def test_lossless_codecs_keep_every_bit_and_the_order_in_memory(codec: str, order: tuple[int, ...]) -> None:
    """Values and strides come back as they were, and packing made the tensor shorter."""
    sent = activations(2, 8, 6, 10).permute(order)
    arrived, encoded = there_and_back(codec, sent)
    assert torch.equal(arrived, sent)
    assert arrived.stride() == sent.stride()
    assert encoded.codec == codec
    assert (encoded.nbytes < sent.numel() * 4) == (codec == "zstd")


@pytest.mark.parametrize("codec", ["f16", "f16-zstd", "int8", "int8-zstd"])
@pytest.mark.parametrize("shape", [(1, 8, 6, 10), (1, 5, 12), (1, 900), (77,)], ids=str)
def test_lossy_codecs_lose_no_more_than_they_say(codec: str, shape: tuple[int, ...]) -> None:
    """Half precision keeps 11 bits; int8 is a step off at most, a 255th of the channel's range."""
    sent = torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 3
    arrived, encoded = there_and_back(codec, sent)
    assert encoded.codec in (codec, codec.removesuffix("-zstd"))
    assert arrived.dtype == torch.float32
    if codec.startswith("f16"):
        assert torch.allclose(arrived, sent, rtol=2**-11, atol=1e-6)
    else:
        by_slice = sent if sent.dim() >= 3 else sent.view(1, 1, -1)
        span = by_slice.flatten(2).amax(2).clamp_min(0) - by_slice.flatten(2).amin(2).clamp_max(0)
        step = (span / 255).view(1, -1, *[1] * (by_slice.dim() - 2))
        assert ((arrived.view(by_slice.shape) - by_slice).abs() <= step * 1.001).all()


@pytest.mark.parametrize("codec", ["int8", "int8-zstd"])
def test_int8_keeps_zeros_exact_and_channels_apart(codec: str) -> None:
    """What ReLU made zero is zero; a channel a hundred times smaller than another one keeps its own steps."""
    sent = activations(1, 16, 9, 9).contiguous(memory_format=torch.channels_last)
    sent[:, 3] = 0.0
    sent[:, 4] -= 5.0
    arrived, encoded = there_and_back(codec, sent)
    assert encoded.order == CHANNELS_LAST
    assert arrived.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(arrived[sent == 0], sent[sent == 0])
    small, step = sent[:, 0], float(sent[:, 0].max()) / 255
    assert (arrived[:, 0] - small).abs().max() <= step


@pytest.mark.parametrize("shape", [(1, 16, 24, 24), (2, 3, 5, 7), (1, 8, 4, 3, 2)], ids=str)
@pytest.mark.parametrize("bad", [None, math.nan, math.inf])
@pytest.mark.parametrize("negatives", [True, False])
def test_int8_is_the_same_however_the_channels_lie_in_memory(
    shape: tuple[int, ...], bad: float | None, negatives: bool
) -> None:
    """Beside each other they are encoded in another way, to the same steps; what cannot be said is sent raw."""
    values = torch.randn(shape, generator=torch.Generator().manual_seed(2)) * 5
    if not negatives:
        values.relu_()
    if bad is not None:
        values[-1, -1, -1, -1] = bad
    apart = values.clone(memory_format=torch.contiguous_format)
    beside = torch.moveaxis(torch.moveaxis(values, 1, -1).contiguous(), -1, 1)
    (one, encoded), (other, again) = (there_and_back("int8", tensor) for tensor in (apart, beside))
    assert encoded.codec == again.codec == ("int8" if bad is None else "raw")
    assert torch.equal(one.nan_to_num(), other.nan_to_num())
    assert (encoded.order, again.order[-1]) == ((), 1)


@pytest.mark.parametrize(("least", "most", "codec"), [
    (-3e38, 3e38, "raw"), (0.0, 3e38, "int8"), (-3e38, 0.0, "int8"), (0.0, 1e-37, "raw"), (0.0, 1e-35, "int8"),
])  # fmt: skip
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_what_has_no_float32_for_its_steps_is_sent_raw(
    least: float, most: float, codec: str, layout: torch.memory_format
) -> None:
    """Neither too far apart for the difference, nor too near each other for its inverse; nothing overflows."""
    values = torch.zeros(1, 2, 3, 4)
    values[0, 0, 0, 0], values[0, 1, 2, 3] = least, most
    arrived, encoded = there_and_back("int8", values.contiguous(memory_format=layout))
    assert encoded.codec == codec
    assert torch.allclose(arrived, values, rtol=0.01, atol=0.0)


def test_what_packing_does_not_make_shorter_is_sent_without_it() -> None:
    """Noise has nothing to pack: the codec without packing is named, and the bytes are no more than its."""
    noise = torch.randn(1, 4, 5, 5)
    for codec, plain in (("zstd", "raw"), ("f16-zstd", "f16"), ("int8-zstd", "int8")):
        assert encode(codec, noise).codec == plain
        assert encode(codec, noise).nbytes == encode(plain, noise).nbytes


def test_int8_with_packing_makes_activations_of_a_relu_a_fifth() -> None:
    """Bytes are at most a fifth of float32's, as the zeros pack well."""
    sent = activations(1, 64, 28, 28)
    assert encode("int8-zstd", sent).nbytes <= sent.numel() * 4 / 5


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 3e38])
@pytest.mark.parametrize("codec", ["f16", "int8-zstd"])
def test_values_that_a_codec_cannot_say_are_sent_raw(codec: str, bad: float) -> None:
    """One value that is not finite, or too large for half precision, and the tensor crosses as it is."""
    sent = activations(1, 8, 6, 10)
    sent[0, 1, 2, 3], sent[0, 1, 2, 4] = bad, -3e38
    arrived, encoded = there_and_back(codec, sent)
    assert encoded.codec == "raw"
    assert torch.equal(arrived.nan_to_num(), sent.nan_to_num())


@pytest.mark.parametrize("codec", [*VALUE_CODECS, *IMAGE_CODECS])
@pytest.mark.parametrize(
    "sent",
    [
        torch.zeros(0, 3),
        torch.tensor(1.5),
        torch.arange(10, dtype=torch.int64),
        torch.zeros(1, 4, 8, 8, dtype=torch.float64),
        torch.zeros(1, 4, 8, 8),
        torch.full((1, 4, 8, 8), -2.5),
        torch.full((1, 2, 2), 1e-44),
        torch.ones(5, 5, 4, dtype=torch.uint8),
    ],
    ids=["empty", "scalar", "int64", "float64", "zeros", "constant", "denormal", "no image"],
)
def test_any_tensor_crosses_by_any_codec(codec: str, sent: torch.Tensor) -> None:
    """A codec that is not for a tensor sends it raw; constants divide nothing by zero."""
    arrived, _ = there_and_back(codec, sent)
    assert arrived.shape == sent.shape
    assert arrived.dtype == sent.dtype
    assert torch.allclose(arrived.double(), sent.double(), rtol=0.01)


@pytest.mark.parametrize("codec", IMAGE_CODECS)
def test_an_image_codec_keeps_the_picture(codec: str) -> None:
    """Lossless WebP keeps every pixel; the others are a few levels off, and much shorter."""
    sent = picture()
    arrived, encoded = there_and_back(codec, sent)
    assert encoded.codec == codec
    off = (arrived.int() - sent.int()).abs().float()
    assert off.mean() <= (0.0 if codec == "webp-lossless" else 6.0)
    assert encoded.nbytes < sent.numel() / (1 if codec == "webp-lossless" else 4)


@pytest.mark.parametrize("codec", [*VALUE_CODECS[1:], *IMAGE_CODECS])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_bytes_are_the_peers_fault_or_a_tensor(codec: str, data: st.DataObject) -> None:
    """Whatever the bytes of an announced tensor, decoding makes that tensor or raises `RemoteProtocolError`."""
    sent = picture() if codecs.is_image_codec(codec) else activations(1, 4, 16, 16)
    encoded = encode(codec, sent)
    damaged = bytearray(encoded.data)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        arrived = decode(encoded.entry(3), memoryview(damaged))
    except RemoteProtocolError:
        return
    assert arrived.shape == sent.shape
    assert arrived.dtype == sent.dtype


def test_a_packed_tensor_that_announces_more_than_its_shape_is_not_unpacked() -> None:
    """A few bytes that stand for a gigabyte are refused by what they announce, before memory is taken."""
    huge = encode("zstd", torch.zeros(1, 64, 256, 256))
    small = TensorEntry(3, "float32", (1, 64, 64, 64), huge.nbytes, "zstd")
    with pytest.raises(RemoteProtocolError, match="holds 16777216 bytes, not 1048576"):
        decode(small, memoryview(bytearray(huge.data)))


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_no_memory_for_a_tensor_is_not_the_peers_fault(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """What it sent is right; who decodes it fails one frame for it, and has no peer to complain of."""
    encoded = encode("int8", activations(1, 4, 8, 8))

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(module, "_dequantise", fail)
    with pytest.raises(type(error)) as raised:
        decode(encoded.entry(3), memoryview(bytearray(encoded.data)))
    assert raised.value is error


def test_an_image_of_another_size_is_refused() -> None:
    """The picture in the bytes must be the one that the entry announces."""
    encoded = encode("jpeg90", picture(48, 64))
    other = TensorEntry(3, "uint8", (64, 48, 3), encoded.nbytes, "jpeg90")
    with pytest.raises(RemoteProtocolError, match="image of 64x48, not 48x64"):
        decode(other, memoryview(bytearray(encoded.data)))


def test_scales_that_are_not_finite_are_refused() -> None:
    """An int8 tensor whose scale is NaN would make every answer NaN."""
    sent = activations(1, 4, 16, 16)
    data = bytearray(encode("int8", sent).data)
    data[:4] = np.float32(math.nan).tobytes()
    with pytest.raises(RemoteProtocolError, match="a scale is not finite"):
        decode(TensorEntry(3, "float32", (1, 4, 16, 16), len(data), "int8"), memoryview(data))


@pytest.mark.parametrize("codec", [*VALUE_CODECS[1:], *IMAGE_CODECS])
def test_nothing_larger_than_a_payload_may_be_is_encoded(codec: str) -> None:
    """A photograph of 24 megapixels, decoded, is no tensor that could cross: it is left as it is."""
    large = torch.zeros(4_000, 6_000, 3, dtype=torch.uint8)
    assert encode(codec, large).codec == "raw"
    assert offered(spec_of(large)) == ()
