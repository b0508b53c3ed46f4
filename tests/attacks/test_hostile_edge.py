"""Attacks by an edge that has shaken hands, with messages that are valid in themselves."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import zstandard

from common import limits
from common.wire.messages import (
    Answer,
    Busy,
    Failed,
    Infer,
    MeasureReply,
    MeasureRequest,
    Ping,
    Prepare,
    Prepared,
    Refused,
    Welcome,
)
from common.wire.tensors import TensorEntry
from tests.attacks.house import Attacker, House, house, wire
from tests.cloud_daemon.edge import GRAPH, SPLIT, hello, prepare
from tests.common.wire.samples import DIGEST, SAMPLES, packed
from tests.event_loop import run, until
from tests.fuzz.bombs import jpeg_of_scans, webp_canvas

FIRST, SECOND = GRAPH.index["first"], GRAPH.index["second"]
SHAPE = (1, 8, 8, 8)
SIZE = 2_048


async def prepared(under: House) -> Attacker:
    attacker = await under.attacker()
    attacker.says(prepare(SPLIT, 3))
    answer = await attacker.hears()
    assert isinstance(answer, Prepared)
    assert answer.ready
    return attacker


def infer(frame: int = 1, epoch: int = 3, deadline_ms: float = 9e4, *tensors: TensorEntry) -> Infer:
    raw = (TensorEntry(FIRST, "float32", SHAPE, SIZE), TensorEntry(SECOND, "float32", SHAPE, SIZE))
    return Infer(frame=frame, epoch=epoch, deadline_ms=deadline_ms, tensors=tensors or raw)


def test_a_replayed_session(tmp_path: Path) -> None:
    """All that a session's edge said is said again, on a new connection, and once more on the same.

    Answer: a new connection is a new session with an identity of its own, and nothing of the old one is in it; a
    second Hello on one connection breaks the protocol and closes it.
    """

    async def main() -> None:
        async with house(tmp_path / "state") as under:
            recorded = packed(hello(edge="good")) + packed(infer(7), bytes(2 * SIZE))
            attacker = await under.attacker(greeted=False)
            attacker.sends(recorded)
            welcome, failed = await attacker.hears(), await attacker.hears()
            assert isinstance(welcome, Welcome)
            assert len({session.number for session in under.rack.server.sessions}) == 2
            assert isinstance(failed, Failed)
            assert "epoch 3 is not prepared here" in failed.reason
            attacker.sends(recorded)
            await attacker.is_cut_off()
            assert "Hello from the EDGE in OPEN" in under.last_word["reason"]

    run(main())


@pytest.mark.parametrize("epoch", [0, 2, 2**53])
def test_a_wrong_epoch(tmp_path: Path, epoch: int) -> None:
    """A frame under a plan that was never prepared in this session, though it was in the good edge's (epoch 1).

    Answer: `Failed` for the frame, with the epoch; the connection lives, and other edges' plans are out of reach.
    """

    async def main() -> None:
        async with house(tmp_path / "state") as under:
            attacker = await under.attacker()
            for number in (epoch, 1):
                attacker.says(infer(epoch=number), bytes(2 * SIZE))
                failed = await attacker.hears()
                assert isinstance(failed, Failed)
                assert f"epoch {number} is not prepared here" in failed.reason

    run(main())


PLANS = {
    "a unit beyond the graph": {"units": (4_095,), "inputs": (0,), "outputs": ((4_095, "answer"),)},
    "an input beyond the graph": {"units": (9,), "inputs": (4_095,), "outputs": ((9, "answer"),)},
    "no outputs": {"units": (8, 9), "inputs": (7,), "outputs": ()},
    "no units": {"units": (), "inputs": (), "outputs": ((9, "answer"),)},
    "inputs that it does not read": {"units": (8, 9), "inputs": (0, 1), "outputs": ((9, "answer"),)},
    "an output of others": {"units": (8, 9), "inputs": (7,), "outputs": ((2, "answer"),)},
}


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_naming_unknown_units(tmp_path: Path, name: str) -> None:
    """Stages of units that do not exist, do not belong together, or read and hand on what they cannot.

    Answer: Prepared with `ready` false and the reason, MeasureReply likewise; the connection lives.
    """

    async def main() -> None:
        async with house(tmp_path / "state") as under:
            attacker = await under.attacker()
            attacker.says(Prepare(epoch=5, **PLANS[name]))  # type: ignore[arg-type]
            said = await attacker.hears()
            assert isinstance(said, Prepared)
            assert not said.ready
            assert said.reason
            attacker.says(MeasureRequest(number=5, **PLANS[name]))  # type: ignore[arg-type]
            measured = await attacker.hears()
            assert isinstance(measured, MeasureReply)
            if name != "inputs that it does not read":  # what is measured is made from units and outputs
                assert not measured.measured

    run(main())


ODD_PLANS = {
    "a unit that nobody reads": {"units": (2, 9), "inputs": (1, 8), "outputs": ((9, "answer"),)},
    "units in another order": {"units": (9, 8), "inputs": (7,), "outputs": ((9, "answer"),)},
    "a destination that is a path": {"units": (8, 9), "inputs": (7,), "outputs": ((9, "../../answer"),)},
}


@pytest.mark.parametrize("name", ODD_PLANS)
def test_a_plan_that_is_odd_and_can_be_run(tmp_path: Path, name: str) -> None:
    """Stages that no planner makes: units that nobody reads, another order, a destination that is no worker's.

    Answer: prepared like any; it costs the edge's own turns, and a destination never becomes a path.
    """

    async def main() -> None:
        async with house(tmp_path / "state") as under:
            attacker = await under.attacker()
            attacker.says(Prepare(epoch=5, **ODD_PLANS[name]))  # type: ignore[arg-type]
            said = await attacker.hears()
            assert isinstance(said, Prepared)
            assert said.ready

    run(main())


NAMES = {
    "parent": "../../../../etc/cron.d/cleave",
    "absolute": "/etc/passwd",
    "newline": "porch\n2026-01-01 level=info event=all-is-well",
    "escape": "porch\x1b[2J\x1b[1;31m",
    "NUL": "porch\x00.json",
    "right to left": "porch\u202egpj.exe",
    "very long": "x" * 201,
    "as long as a message": "x" * 3_000,
    "template": "{0.__class__} %s %n ${jndi:ldap://x}",
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("field", ["edge", "model"])
def test_path_names_and_control_characters_as_names(tmp_path: Path, field: str, name: str) -> None:
    """Names that would be a path, another line in a log, a terminal's command, or a format.

    Answer: no name from the wire ever becomes a path (no file appears or changes); one that is not printable or too
    long breaks the protocol; another is a name like any, on one line of the log.
    """

    async def main() -> None:
        async with house(tmp_path / "state") as under:
            fields = hello().header() | {field: NAMES[name]}
            attacker = await under.attacker(greeted=False)
            attacker.sends(wire(1, fields))
            if name in ("parent", "absolute", "template"):
                assert isinstance(await attacker.hears(), Welcome)
                attacker.says(prepare(SPLIT, 3))
                await attacker.hears()
            else:
                assert await attacker.is_cut_off() == []
                assert under.last_word["event"] == "connection closed by us"
        assert not (tmp_path / "etc").exists()

    run(main())


def test_another_model_and_another_protocol(tmp_path: Path) -> None:
    """Hellos of foreign fingerprints and versions, to learn what the cloud holds.

    Answer: Refused, with the fingerprints' first digits and what to set, and the end of the connection.
    """

    async def main() -> None:
        async with house(tmp_path / "state") as under:
            for change in ({"protocol": 1}, {"protocol": 2**53}, {"weights": DIGEST}, {"graph": DIGEST}):
                attacker = await under.attacker(greeted=False)
                attacker.sends(wire(1, hello().header() | change))
                said = await attacker.is_cut_off()
                assert [type(message) for message in said] == [Refused]

    run(main())


def packed_zeros(nbytes: int) -> bytes:
    return zstandard.ZstdCompressor(write_content_size=True).compress(bytes(nbytes))


def scales(value: float) -> bytes:
    return np.array([value] * 8 + [0] * 8, np.float32).tobytes() + bytes(512)


BOMBS = {
    "zstd of 64 MiB": ("zstd", packed_zeros(64 * limits.MIB)),
    "zstd of 4 bytes less": ("zstd", packed_zeros(SIZE - 4)),
    "no zstd": ("zstd", b"no zstd"),
    "zstd and more": ("zstd", packed_zeros(SIZE) + b"hidden"),
    "int8 of scale NaN": ("int8", scales(math.nan)),
    "int8 of scale inf": ("int8", scales(math.inf)),
    "int8-zstd of 64 MiB": ("int8-zstd", packed_zeros(64 * limits.MIB)),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_decompression_bomb_in_a_frames_payload(tmp_path: Path, bomb: str) -> None:
    """A tensor's few bytes that stand for much more than its shape, or for nothing.

    Answer: what it announces is compared with the shape before it is unpacked; Failed for the frame, on the compute
    thread, within the memory of the shape; frames batched with it are not concerned.
    """

    async def main() -> None:
        async with house(tmp_path / "state") as under:
            attacker = await prepared(under)
            codec, data = BOMBS[bomb]
            entry = TensorEntry(SECOND, "float32", SHAPE, len(data), codec) if len(data) < SIZE else None
            if entry is None:  # refused by its length alone
                rows = [
                    list(infer().header()["tensors"][0]),
                    [SECOND, "float32", SHAPE, len(data), codec, []],
                ]
                attacker.sends(wire(8, SAMPLES[Infer].header() | {"tensors": rows}, bytes(SIZE) + data))
                assert await attacker.is_cut_off() == []
                return
            first = TensorEntry(FIRST, "float32", SHAPE, SIZE)
            attacker.says(infer(1, 3, 9e4, first, entry), bytes(SIZE) + data)
            said = await attacker.hears()
            assert isinstance(said, Failed)
            assert not said.frame_at_fault
            assert codec in said.reason

    run(main())


FRAMES = {
    "a JPEG of 20,000 scans": jpeg_of_scans(1_000, 20_000),
    "a WebP canvas of 268 megapixels": webp_canvas(16_383, 16_383),
    "a head and no image": jpeg_of_scans(600, 6)[:300],
    "nothing": b"",
}


@pytest.mark.parametrize("name", FRAMES)
def test_an_image_bomb_as_a_frame(tmp_path: Path, name: str) -> None:
    """A file that is short to send and would be long, or large, to decode.

    Answer: Failed, `frame_at_fault`, before it is decoded; the compute thread is free at once.
    """
    from common.plan import Cut

    async def main() -> None:
        async with house(tmp_path / "state") as under:
            attacker = await under.attacker()
            attacker.says(prepare(Cut.cloud_only(GRAPH), 3))
            await attacker.hears()
            data = FRAMES[name]
            entry = TensorEntry(GRAPH.index["frame"], "uint8", (len(data),), len(data))
            attacker.says(infer(1, 3, 9e4, entry), data)
            said = await attacker.hears()
            assert isinstance(said, Failed)
            assert said.frame_at_fault

    run(main())


def test_tensors_of_nan(tmp_path: Path) -> None:
    """Values that are NaN throughout, in the hope that they spread to what runs in the same batch.

    Answer: an Answer of NaN to the edge that asked; the good edge's answers, batched with it or not, stay right.
    """

    async def main() -> None:
        async with house(tmp_path / "state") as under:
            attacker = await prepared(under)
            nan = np.full(2 * SIZE // 4, math.nan, np.float32).tobytes()
            for frame in range(20):
                attacker.says(infer(frame), nan)
                assert isinstance(await attacker.hears(), Answer)
            await under.serves_on(5)

    run(main())


def test_more_frames_than_the_credit(tmp_path: Path) -> None:
    """Fifty frames at once, where Welcome granted four.

    Answer: Busy for those beyond the credit, at once; the good edge's turn comes as before.
    """

    async def main() -> None:
        async with house(tmp_path / "state") as under:
            attacker = await prepared(under)
            attacker.sends(b"".join(packed(infer(frame), bytes(2 * SIZE)) for frame in range(50)))
            said = [await attacker.hears() for _ in range(50)]
            assert {type(message) for message in said} == {Answer, Busy}

    run(main())


def test_requests_without_end(tmp_path: Path) -> None:
    """Profiles, plans and probes, asked for faster than any edge would.

    Answer: with the seventh that waits at a time the connection is closed, and what it asked for is cancelled.
    """

    async def main() -> None:
        async with house(tmp_path / "state") as under:
            attacker = await under.attacker()
            attacker.sends(packed(prepare(SPLIT, 3)) * 40)
            await attacker.is_cut_off()
            assert "requests at a time" in under.last_word["reason"]

    run(main())


def test_questions_whose_answers_nobody_reads(tmp_path: Path) -> None:
    """Pings without end, on a connection whose answers are left unread.

    Answer: when 4 MiB are unread the connection is closed; until then the pongs wait in the system's buffers.
    """

    async def main() -> None:
        async with house(tmp_path / "state") as under:
            attacker = await under.attacker()
            attacker.writer.transport.pause_reading()  # type: ignore[attr-defined]
            ping = packed(Ping(number=1)) * 2_000
            await until(lambda: _full(attacker, ping))
            await until(lambda: len(under.rack.server.sessions) == 1)
            assert "bytes unread" in under.last_word["reason"]

    def _full(attacker: Attacker, ping: bytes) -> bool:
        if not attacker.writer.transport.is_closing():
            if attacker.writer.transport.get_write_buffer_size() < limits.MIB:
                attacker.sends(ping)
            return False
        return True

    run(main())
