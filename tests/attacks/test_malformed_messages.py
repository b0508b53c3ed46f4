"""Attacks by messages that are none, on a real server that serves a good edge all the while."""

from __future__ import annotations

from pathlib import Path

import pytest

from common import limits
from common.wire.messages import Infer, Ping, Pong, Prepare
from tests.attacks.house import house, wire
from tests.cloud_daemon.edge import SPLIT, prepare
from tests.common.wire.samples import SAMPLES
from tests.event_loop import run
from tests.fuzz.test_corpus import HARMLESS
from tests.fuzz.write_corpus import CORPUS

INFER = SAMPLES[Infer].header()
ROW = [1, "uint8", [3], 3, "raw", []]


def test_every_stream_of_the_corpus_against_a_real_server(tmp_path: Path) -> None:
    """Every abuse that is kept as a file (`tests/fuzz/corpus`), said to a server.

    Answer: the connection is closed, the reason is logged in one short line; nobody else notices.
    """

    async def main() -> None:
        async with house(tmp_path / "state") as under:
            for path in sorted(CORPUS.glob("cloud-*.stream")):
                attacker = await under.attacker(greeted=path.stem.startswith("cloud-open"))
                attacker.sends(path.read_bytes())
                if path.stem not in HARMLESS:
                    await attacker.is_cut_off()
                    assert under.last_word["event"] in ("connection closed by us", "edge refused"), path.stem

    run(main())


MALFORMED = {
    "nested lists": wire(Ping.code, b"\x81\xa6number" + b"\x91" * 16_000 + b"\xc0"),
    "nested maps": wire(Ping.code, b"\x81\xa1a" * 5_000 + b"\xc0"),
    "16 KiB of empty lists": wire(Ping.code, b"\x81\xa6number\xdc\x10\x00" + b"\x90" * 4_096),
    "a duplicate key": wire(Infer.code, b"\x86" + b"\xa5frame\x01\xa5frame\x02" * 3),
    "an extension type": wire(Ping.code, b"\x81\xa6number\xc7\x00\x01"),
    "a header of 65,535 bytes": wire(Ping.code, bytes(100))[:6] + b"\xff\xff" + bytes(8),
    "a payload of 2^64 - 1 bytes": wire(Infer.code, INFER, announced=2**64 - 1),
    "a payload of 64 MiB and a byte": wire(Infer.code, INFER, announced=limits.MAX_PAYLOAD_BYTES + 1),
    "a ping of 64 MiB": wire(Ping.code, {"number": 1}, announced=limits.MAX_PAYLOAD_BYTES),
    "a payload where none may be": wire(Prepare.code, SAMPLES[Prepare].header(), b"x"),
    "rank 9": wire(Infer.code, INFER | {"tensors": [[1, "uint8", [1] * 9, 1, "raw", []]]}),
    "rank 10,000": wire(Infer.code, INFER | {"tensors": [[1, "uint8", [1] * 4_000, 1, "raw", []]]}),
    "a negative size": wire(Infer.code, INFER | {"tensors": [[1, "uint8", [-1, -3], 3, "raw", []]]}),
    "sizes whose product is 2^208": wire(
        Infer.code, INFER | {"tensors": [[1, "uint8", [2**26] * 8, 3, "raw", []]]}
    ),
    "an empty tensor of immense sizes": wire(
        Infer.code, INFER | {"tensors": [[1, "uint8", [0] + [2**26] * 7, 0, "raw", []]]}
    ),
    "dtype object": wire(Infer.code, INFER | {"tensors": [[1, "object", [3], 3, "raw", []]]}),
    "dtype of 16 KB": wire(Infer.code, INFER | {"tensors": [[1, "f" * 16_000, [3], 3, "raw", []]]}),
    "a codec that is a path": wire(Infer.code, INFER | {"tensors": [[1, "uint8", [3], 3, "../x", []]]}),
    "257 tensors": wire(Infer.code, INFER | {"tensors": [[1, "uint8", [0], 0, "raw", []]] * 257}),
    "40 MiB twice, packed to 20 bytes": wire(
        Infer.code, INFER | {"tensors": [[1, "float32", [10, 1024, 1024], 20, "zstd", []]] * 2}
    ),
}


@pytest.mark.parametrize("abuse", MALFORMED)
def test_a_malformed_message(tmp_path: Path, abuse: str) -> None:
    """Nested msgpack, immense lengths, duplicate keys, dtypes, ranks and sizes that no tensor has.

    Answer: `RemoteProtocolError` from prefix or header, before any memory is taken; the connection is closed.
    """

    async def main() -> None:
        async with house(tmp_path / "state") as under:
            attacker = await under.attacker()
            attacker.sends(MALFORMED[abuse])
            assert await attacker.is_cut_off() == []
            assert under.last_word["event"] == "connection closed by us"
            assert under.last_word["edge"] == "mallory"

    run(main())


GOOD = [4, "float32", [1, 8, 8, 8], 2_048, "raw", []]
WRONG_FOR_THE_PLAN = {
    "another unit": [[0, "uint8", [3], 3, "raw", []]],
    "no tensors": [],
    "half of them": [GOOD],
    "one twice": [GOOD, GOOD],
    "another type": [GOOD, [5, "float64", [1, 8, 8, 8], 4_096, "raw", []]],
    "zero-sized": [GOOD, [5, "float32", [1, 8, 0, 8], 0, "raw", []]],
    "another shape": [GOOD, [5, "float32", [1, 8, 8, 9], 2_304, "raw", []]],
    "a batch of a thousand": [GOOD, [5, "float32", [1_000, 8, 8, 8], 2_048_000, "raw", []]],
}


@pytest.mark.parametrize("abuse", WRONG_FOR_THE_PLAN)
def test_tensors_that_are_not_the_plans(tmp_path: Path, abuse: str) -> None:
    """Well-formed tensors of another unit, type, shape or size than the prepared stage reads.

    Answer: `RemoteProtocolError` before the frame is queued; the connection is closed.
    """

    async def main() -> None:
        async with house(tmp_path / "state") as under:
            attacker = await under.attacker()
            attacker.says(prepare(SPLIT, 3))
            await attacker.hears()
            rows = WRONG_FOR_THE_PLAN[abuse]
            payload = bytes(sum(row[3] for row in rows))  # type: ignore[misc]
            attacker.sends(wire(Infer.code, INFER | {"tensors": rows}, payload))
            assert await attacker.is_cut_off() == []
            assert (
                "the plan says" in under.last_word["reason"] or "the model makes" in under.last_word["reason"]
            )

    run(main())


def test_a_message_every_byte_of_which_comes_alone(tmp_path: Path) -> None:
    """Valid messages, a byte in a segment.

    Answer: they are heard as if they had come whole.
    """

    async def main() -> None:
        async with house(tmp_path / "state") as under:
            attacker = await under.attacker()
            for octet in wire(Ping.code, {"number": 7}):
                attacker.sends(bytes([octet]))
                await attacker.writer.drain()
            pong = await attacker.hears()
            assert isinstance(pong, Pong)
            assert pong.number == 7

    run(main())
