"""Facts about tensors that are almost right: each is decoded to what it announces, or refused, at a bounded price."""

from __future__ import annotations

import gc
import io
import random
import struct
import time
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import zstandard
from PIL import Image

from common import limits
from common.errors import CleaveError, FrameError, RemoteProtocolError
from common.wire.tensors import TensorEntry
from models.codecs import Encoded, decode, encode
from models.preprocess import as_frame, image_size
from models.preprocess import decode as decode_frame
from models.tensor_memory import spec_of
from tests.fuzz.bombs import jpeg_of_scans, webp_canvas

MUTANTS = 12_000
CODECS = ("raw", "zstd", "f16", "f16-zstd", "int8", "int8-zstd", "webp-lossless", "webp80", "jpeg90")
ODD_FLOATS = (float("nan"), float("inf"), float("-inf"), 0.0, -0.0, -1.0, 5e-324, 1e-44, 3.4e38, -3.4e38)


@cache
def samples(codec: str) -> tuple[tuple[TensorEntry, bytes], ...]:
    """Tensors of several kinds, as `codec` sends them."""
    values = torch.randn((1, 4, 9, 7), generator=torch.Generator().manual_seed(1)).relu_()
    last = values.contiguous(memory_format=torch.channels_last)
    picture = (torch.arange(40 * 30 * 3).reshape(30, 40, 3) // 17 % 256).to(torch.uint8)
    vector, flags = values.flatten()[:50].clone(), values.flatten() > 0
    found = []
    for tensor in (values, last, vector, picture, flags):
        encoded: Encoded = encode(codec, tensor)
        found.append((encoded.entry(3), bytes(encoded.data)))
    return tuple(found)


def damaged(rng: random.Random) -> tuple[TensorEntry, bytearray]:
    """A tensor that was sent well, with other bytes, another length, or another description."""
    entry, good = rng.choice(samples(rng.choice(CODECS)))
    data = bytearray(good)
    way = rng.randrange(6)
    if way == 0:  # the scales and zero points are in front
        at = 4 * rng.randrange(min(len(data) // 4, 10)) if len(data) >= 4 else 0
        data[at : at + 4] = np.float32(rng.choice(ODD_FLOATS)).tobytes()
    elif way == 1:
        for _ in range(rng.choice((1, 2, 8))):
            data[rng.randrange(len(data))] = rng.randrange(256)
    elif way == 2:
        del data[rng.randrange(len(data)) :]
    elif way == 3:
        data += rng.choice((b"\0", good, rng.randbytes(9)))
    elif way == 4:
        data = bytearray(rng.choice(samples(rng.choice(CODECS)))[1])
    fields = {name: getattr(entry, name) for name in ("unit", "dtype", "shape", "codec", "order")}
    if way == 5:
        name = rng.choice(("dtype", "shape", "codec", "order"))
        changes: dict[str, object] = {
            "dtype": rng.choice(("float32", "uint8", "bool", "float16", "int64")),
            "shape": tuple(rng.choice((0, 1, 3, 4, 7, 9, 30, 40)) for _ in range(rng.randrange(5))),
            "codec": rng.choice(CODECS),
            "order": tuple(rng.sample(range(4), 4)),
        }
        fields[name] = changes[name]
    return TensorEntry(nbytes=len(data), **fields), data


def test_damaged_tensors_are_decoded_to_what_they_announce_or_refused() -> None:
    """Thousands of them, by all codecs: the announced tensor, or the peer's error, and nothing else."""
    rng = random.Random(5)
    outcomes: Counter[str] = Counter()
    for _ in range(MUTANTS):
        try:
            entry, data = damaged(rng)
        except RemoteProtocolError:
            outcomes["refused by its description"] += 1
            continue
        try:
            tensor = decode(entry, memoryview(data))
        except RemoteProtocolError:
            outcomes["refused by its bytes"] += 1
            continue
        assert spec_of(tensor) == entry.spec
        assert tensor.clone().shape == entry.shape  # every element can be read
        outcomes["decoded"] += 1
    print(dict(outcomes))
    assert min(outcomes.values()) > MUTANTS * 0.05
    assert len(outcomes) == 3


def test_damaged_frames_are_decoded_or_the_frames_fault() -> None:
    """The files that `decode` reads, JPEG, PNG and WebP: an image or `FrameError`."""
    rng = random.Random(6)
    files = []
    for form, modes in (
        ("JPEG", ("RGB", "L", "CMYK")),
        ("PNG", ("RGBA", "P", "1")),
        ("WEBP", ("RGB", "RGBA")),
    ):
        for mode in modes:
            buffer = io.BytesIO()
            Image.effect_noise((40, 30), 60).convert("RGB").convert(mode).save(buffer, form)
            files.append(buffer.getvalue())
    outcomes: Counter[str] = Counter()
    for _ in range(3_000):
        data = bytearray(rng.choice(files))
        for _ in range(rng.choice((1, 1, 3, 20))):
            data[rng.randrange(min(len(data), rng.choice((64, 1_000))))] = rng.randrange(256)
        if rng.randrange(6) == 0:
            del data[rng.randrange(1, len(data)) :]
        try:
            image_size(bytes(data))
            image = decode_frame(as_frame(bytes(data)))
        except FrameError:
            outcomes["refused"] += 1
            continue
        assert image.shape[0] * image.shape[1] <= limits.MAX_FRAME_PIXELS
        assert image.dtype == torch.uint8
        outcomes["decoded"] += 1
    assert min(outcomes.values()) > 200


# --- bombs: little to send, much to do ------------------------------------------------------------------
def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def price(entry: TensorEntry, data: bytes) -> tuple[str, int, float]:
    """What decoding says, takes of memory at its end, and takes of time in seconds."""
    gc.collect()
    before, began = resident_bytes(), time.perf_counter()
    with pytest.raises(CleaveError) as refused:
        decode(entry, memoryview(bytearray(data)))
    return str(refused.value), resident_bytes() - before, time.perf_counter() - began


def zstd_that_claims(content: int, claimed: int) -> bytes:
    """A frame of so many zeros whose header says another length."""
    frame = bytearray(zstandard.ZstdCompressor(level=1, write_content_size=True).compress(bytes(content)))
    size_field = struct.pack("<I", content)
    at = frame.index(size_field)
    frame[at : at + 4] = struct.pack("<I", claimed)
    return bytes(frame)


def test_a_packed_tensor_that_holds_more_than_it_claims_is_not_unpacked_beyond_it() -> None:
    """256 MiB of zeros under a header that claims a MiB: refused, within little memory."""
    data = zstd_that_claims(256 * limits.MIB, limits.MIB)
    assert len(data) < 64 * limits.KIB
    said, memory, _ = price(TensorEntry(1, "float32", (1, 2**18), len(data), "zstd"), data)
    assert "are no zstd" in said
    assert memory < 8 * limits.MIB


def test_a_packed_tensor_without_an_announced_length_is_refused() -> None:
    """How long it gets must be known before anything is unpacked."""
    data = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(4_000))
    said, _, _ = price(TensorEntry(1, "float32", (1, 1_000), len(data), "zstd"), data)
    assert "not 4000" in said


def test_bytes_behind_a_packed_tensor_are_refused() -> None:
    """One frame is what the protocol says: nothing hides behind it."""
    data = zstandard.ZstdCompressor(write_content_size=True).compress(bytes(4_000)) + b"hidden"
    price(TensorEntry(1, "float32", (1, 1_000), len(data), "zstd"), data)


def test_a_webp_canvas_is_refused_by_its_size() -> None:
    """90 bytes that announce 268 megapixels, where a thumbnail was promised."""
    data = webp_canvas(16_383, 16_383)
    said, memory, spent_s = price(TensorEntry(1, "uint8", (64, 64, 3), len(data), "webp-lossless"), data)
    assert "webp-lossless" in said
    assert memory < 8 * limits.MIB
    assert spent_s < 2.0
    with pytest.raises(FrameError):
        decode_frame(as_frame(data))


@pytest.mark.parametrize("scans", [limits.MAX_JPEG_SCANS + 1, 20_000])
def test_a_jpeg_of_endless_scans_is_refused_before_it_is_decoded(scans: int) -> None:
    """31 bytes a scan, each as much work as the image is large: a MB of them would hold the machine for minutes."""
    data = jpeg_of_scans(1_000, scans)
    said, _, spent_s = price(TensorEntry(1, "uint8", (1_000, 1_000, 3), len(data), "jpeg90"), data)
    assert "scans" in said
    assert spent_s < 1.0
    with pytest.raises(FrameError, match="scans"):
        decode_frame(as_frame(data))


def test_a_progressive_jpeg_is_no_bomb() -> None:
    """What cameras and web sites write has a dozen scans, and is decoded."""
    data = jpeg_of_scans(64, 12)
    assert decode_frame(as_frame(data)).shape == (64, 64, 3)
    entry = TensorEntry(1, "uint8", (64, 64, 3), len(data), "jpeg90")
    assert decode(entry, memoryview(bytearray(data))).shape == (64, 64, 3)


@pytest.mark.parametrize("codec", ["raw", "zstd"])
def test_a_bool_is_0_or_1(codec: str) -> None:
    """Any other byte would be a value that torch's operators disagree about."""
    flags = torch.arange(400) % 3 == 0
    data = bytearray(flags.to(torch.uint8).numpy().tobytes())
    data[7] = 2
    sent = data if codec == "raw" else zstandard.ZstdCompressor(write_content_size=True).compress(bytes(data))
    said, _, _ = price(TensorEntry(1, "bool", (400,), len(sent), codec), bytes(sent))
    assert "neither 0 nor 1" in said
    assert torch.equal(decode(*_sent(codec, flags)), flags)


def _sent(codec: str, tensor: torch.Tensor) -> tuple[TensorEntry, memoryview]:
    encoded = encode(codec, tensor)
    return encoded.entry(1), memoryview(bytearray(encoded.data))
