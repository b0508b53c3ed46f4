"""Write tests/fuzz/corpus anew: `python -m tests.fuzz.write_corpus`.

    ROLE-STATE-what-it-is.stream     bytes that a connection of ROLE in STATE hears
    CODEC-DTYPE-SHAPE-what-it-is.tensor   bytes of a tensor with that description
    what-it-is.frame                 a file that is to be decoded

The files are committed, and what the tests replay; this says how each was made.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgpack
import numpy as np
import zstandard

from common import limits
from common.wire.framing import MAGIC, PREFIX
from common.wire.messages import Answer, Bye, Hello, Infer, Message, Ping, Prepare, Welcome
from tests.common.wire.samples import SAMPLES, packed
from tests.fuzz.bombs import jpeg_of_scans, webp_canvas

CORPUS = Path(__file__).parent / "corpus"
HUGE = 2**26


def wire(kind: type[Message], header: bytes, payload: bytes = b"", announced: int | None = None) -> bytes:
    size = len(payload) if announced is None else announced
    return PREFIX.pack(MAGIC, kind.code, 0, len(header), size) + header + payload


def changed(kind: type[Message], payload: bytes = b"", **fields: object) -> bytes:
    return wire(kind, msgpack.packb({**SAMPLES[kind].header(), **fields}), payload)


def streams() -> Iterator[tuple[str, bytes]]:
    """Found defects first: what once took too much memory, or was let through."""
    lists = b"\xdc\x0f\xf0" + b"\x90" * 0xFF0
    start = b"\x84" + msgpack.packb({"units": [], "inputs": [], "epoch": 1})[1:] + msgpack.packb("outputs")
    yield "cloud-open-16-KiB-of-empty-lists", wire(Prepare, start + b"\x94" + lists * 4)
    yield "cloud-open-16-KiB-of-maps", wire(Prepare, start + b"\xdc\x0f\xf0" + b"\x81\xa0\xc0" * 0xFF0)
    yield (
        "cloud-open-sizes-of-64-Mi-beside-a-0",
        changed(Infer, tensors=[[1, "uint8", [0] + [HUGE] * 7, 0, "raw", []]]),
    )
    yield (
        "cloud-open-a-field-name-that-writes-log-lines",
        wire(Ping, msgpack.packb({"number": 1, "x\n\x1b[2J level=info": 1})),
    )
    yield (
        "cloud-open-a-destination-that-writes-log-lines",
        changed(Prepare, outputs=[[3, "answer\nall is well"]]),
    )
    yield "cloud-open-a-type-of-16-KB", changed(Infer, tensors=[[1, "f" * 16_000, [3], 3, "raw", []]])
    yield "cloud-open-a-ping-of-64-MiB", wire(Ping, msgpack.packb({"number": 1}), announced=HUGE)
    yield "edge-open-a-profile-of-64-MiB", PREFIX.pack(MAGIC, 5, 0, 1, HUGE) + b"\x80"

    yield "cloud-greeting-http", b"GET / HTTP/1.1\r\nHost: cloud\r\n\r\n"
    yield "cloud-greeting-tls-client-hello", bytes.fromhex("16030100c8010000c40303") + bytes(190)
    yield "cloud-greeting-two-hellos", packed(SAMPLES[Hello]) * 2
    yield "cloud-greeting-5-KB", wire(Hello, bytes(5_000))
    yield "cloud-greeting-infer-first", packed(SAMPLES[Infer], bytes(3))
    yield "edge-greeting-two-welcomes", packed(SAMPLES[Welcome]) * 2
    yield "edge-open-a-hello-from-a-cloud", packed(SAMPLES[Hello])
    yield "edge-open-after-the-end", packed(SAMPLES[Bye]) + b"more, that nobody hears"
    deep = b"\x81\xa6number" + b"\x91" * 16_000 + b"\xc0"
    yield "cloud-open-lists-16000-deep", wire(Ping, deep)
    yield "cloud-open-maps-5000-deep", wire(Ping, b"\x81\xa6number" + b"\x81\xa1a" * 5_000 + b"\xc0")
    yield "cloud-open-number-twice", wire(Ping, b"\x82\xa6number\x01\xa6number\x02")
    yield "cloud-open-4-milliard-fields", wire(Ping, b"\xdf\xff\xff\xff\xff")
    yield "cloud-open-4-GiB-text", wire(Ping, b"\x81\xa6number\xdb\xff\xff\xff\xff")
    yield "cloud-open-an-extension", wire(Ping, b"\x81\xa6number\xc7\x00\x05")
    yield "cloud-open-not-utf-8", wire(Ping, b"\x81\xa6number\xa2\xff\xfe")
    yield "cloud-open-payload-of-2-to-the-64", PREFIX.pack(MAGIC, 8, 0, 10, 2**64 - 1)
    yield "cloud-open-header-of-65535", PREFIX.pack(MAGIC, 15, 0, 65_535, 0)
    yield (
        "cloud-open-64-MiB-announced-one-byte-sent",
        wire(Infer, msgpack.packb(SAMPLES[Infer].header()), b"x", announced=HUGE),
    )
    for name, row in {
        "rank-9": [1, "uint8", [1] * 9, 1, "raw", []],
        "negative-size": [1, "uint8", [-1, -3], 3, "raw", []],
        "256-TiB": [1, "float64", [HUGE, HUGE], 3, "raw", []],
        "dtype-object": [1, "object", [3], 3, "raw", []],
        "true-as-a-size": [1, "uint8", [True, 3], 3, "raw", []],
        "order-that-repeats": [1, "uint8", [1, 3], 3, "raw", [1, 1]],
        "codec-that-is-a-path": [1, "uint8", [3], 3, "../../codec", []],
        "unit-of-no-number": [[[]], "uint8", [3], 3, "raw", []],
    }.items():
        yield f"cloud-open-tensor-{name}", changed(Infer, bytes(3), tensors=[row])
    yield "cloud-open-tensors-of-257", changed(Infer, tensors=[[1, "uint8", [0], 0, "raw", []]] * 257)
    yield (
        "cloud-open-three-times-40-MiB-in-60-bytes",
        changed(Infer, tensors=[[1, "float32", [10, 1024, 1024], 20, "zstd", []]] * 3),
    )
    for number, name in (
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (-1, "minus-1"),
        (2**63, "2-to-the-63"),
    ):
        yield f"edge-open-answer-in-{name}-ms", changed(Answer, bytes(80), cloud_ms=number)


def tensors() -> Iterator[tuple[str, bytes]]:
    pack = zstandard.ZstdCompressor(write_content_size=True).compress
    yield "zstd-float32-1x1000-bytes-behind-the-frame", pack(bytes(4_000)) + b"hidden"
    yield "zstd-float32-1x1000-64-MiB-of-zeros", pack(bytes(HUGE))
    yield "zstd-bool-1x100-sevens", pack(b"\x07" * 100)
    yield "raw-bool-1x100-sevens", b"\x07" * 100
    yield "jpeg90-uint8-600x600x3-5000-scans", jpeg_of_scans(600, 5_000)
    yield "webp80-uint8-16x16x3-canvas-of-268-megapixels", webp_canvas(16_383, 16_383)
    for name, scale in (("nan", np.nan), ("inf", np.inf)):
        values = np.array([scale, 1, 1, 0, 0, 0], np.float32).tobytes() + bytes(75)
        yield f"int8-float32-1x3x5x5-scale-{name}", values


def frames() -> Iterator[tuple[str, bytes]]:
    yield "jpeg-of-5000-scans", jpeg_of_scans(600, 5_000)
    yield "webp-canvas-of-268-megapixels", webp_canvas(16_383, 16_383)
    yield "jpeg-cut-in-its-head", jpeg_of_scans(600, 6)[:300]


def main() -> None:
    CORPUS.mkdir(exist_ok=True)
    for old in CORPUS.iterdir():
        old.unlink()
    for suffix, entries in (("stream", streams()), ("tensor", tensors()), ("frame", frames())):
        for name, data in entries:
            (CORPUS / f"{name}.{suffix}").write_bytes(data)
            assert len(data) <= 256 * limits.KIB


if __name__ == "__main__":
    main()
