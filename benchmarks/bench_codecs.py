"""What int8 with packing does to a trained network: bytes, right answers, and what it takes to encode and decode."""

from __future__ import annotations

import statistics
import time

import torch

from benchmarks.bench_part_rows import CodecRow
from benchmarks.digits import accuracy_and_bytes, crossing, cuts, ends_in_relu
from common.plan import Cut
from common.wire.codecs import INT8_ZSTD, RAW
from models.codecs import decode, encode

RATE_BPS = 20e6
FRAMES = 100
"""Encoded and decoded one after another, as frames are."""


def measure(slowdown: float) -> list[CodecRow]:
    """Return a row for each cut whose crossing tensor ends in a ReLU; the edge encodes `slowdown` times slower."""
    # This process has one core, on which a second thread would wait for the first, spinning.
    torch.set_num_threads(1)
    return [_row(cut, slowdown) for cut in cuts() if ends_in_relu(cut)]


def _row(cut: Cut, slowdown: float) -> CodecRow:
    raw_accuracy, raw_bytes = accuracy_and_bytes(cut, RAW)
    accuracy, packed_bytes = accuracy_and_bytes(cut, INT8_ZSTD)
    encode_ms, decode_ms = [], []
    for tensor in crossing(cut)[:FRAMES]:
        began = time.perf_counter()
        encoded = encode(INT8_ZSTD, tensor)
        between = time.perf_counter()
        decode(encoded.entry(0), encoded.data)
        encode_ms.append((between - began) * 1e3)
        decode_ms.append((time.perf_counter() - between) * 1e3)
    return CodecRow(
        cut=cut.label,
        raw_bytes=raw_bytes,
        packed_bytes=packed_bytes,
        raw_accuracy=raw_accuracy,
        accuracy=accuracy,
        encode_ms=slowdown * statistics.median(encode_ms),
        decode_ms=statistics.median(decode_ms),
        saved_ms=(raw_bytes - packed_bytes) * 8e3 / RATE_BPS,
    )
