"""Frames that are coded to see how long they become: which cut's codecs, how often, and what comes of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import torch

from common.partition.closed_sets import enumerate_closed_sets
from common.partition.codings import Codings
from common.partition.decide import Conditions, decide
from common.partition.frontier import Frontier
from common.plan import Cut
from common.profile import Coding, Profile
from edge_daemon.length_check import EVERY_S, LOOKS, LengthCheck, cut_to_look_at
from models.codecs import encode
from models.preprocess import as_frame
from tests.edge_daemon.bench import Bench, bench
from tests.edge_daemon.controller_loop import CLOUD, EDGE, GRAPH, planning
from tests.event_loop import run, until
from tests.tiny_model import jpeg

RAW_BYTES = GRAPH["resize"].output_bytes
CODINGS = {
    "resize": (Coding("webp-lossless", RAW_BYTES / 2, 0.0, 0.0),),
    "add": (Coding("zstd", RAW_BYTES / 4, 0.0, 0.0),),
}
CODED = Cut.from_label(GRAPH, "after resize as webp-lossless")
ALONE = Cut.edge_only(GRAPH)


def frontier(edge: Profile) -> Frontier:
    codings = Codings.of(GRAPH, replace(edge, codings=CODINGS), replace(CLOUD, codings=CODINGS))
    return Frontier.build(enumerate_closed_sets(GRAPH), edge.unit_ms, CLOUD.unit_ms, codings)


def bandwidth(link_ms: float) -> Conditions:
    """A link that carries the coded image in so many ms."""
    return Conditions(bandwidth_bps=RAW_BYTES / 2 * 8e3 / link_ms, rate_fps=1.0)


def test_a_cut_that_comes_near_and_codes_frames_is_looked_at() -> None:
    """The edge alone takes 610 ms: the image may take as long and half as long again, and no longer."""
    assert cut_to_look_at(frontier(EDGE), bandwidth(590.0), ALONE) == CODED
    assert cut_to_look_at(frontier(EDGE), bandwidth(890.0), ALONE) == CODED
    assert cut_to_look_at(frontier(EDGE), bandwidth(910.0), ALONE) is None


def test_what_frames_tell_by_themselves_is_not_looked_at() -> None:
    """Those in force are sent so."""
    assert cut_to_look_at(frontier(EDGE), bandwidth(590.0), CODED) is None


def test_the_network_is_not_run_to_see_what_a_codec_makes_of_it() -> None:
    """It costs more than that would tell, and depends on the frame much less: though that cut would be the best."""
    late = replace(EDGE, unit_ms={**EDGE.unit_ms, "normalize": 10.0, "third": 590.0})
    behind = Cut.from_label(GRAPH, "after add as zstd")
    assert decide(frontier(late), bandwidth(590.0)).cut == behind
    assert cut_to_look_at(frontier(late), bandwidth(590.0), ALONE) == CODED
    assert cut_to_look_at(frontier(late), bandwidth(1200.0), ALONE) is None


class Told:
    """What a check has told, and a clock for it."""

    def __init__(self, tiny: Bench) -> None:
        self.now = 1000.0
        self.lengths: list[tuple[str, str, int]] = []
        self.changes = 0
        self.check = LengthCheck(
            tiny.stages,
            tiny.compute,
            lambda *told: self.lengths.append(told),
            self._changed,
            lambda: self.now,
        )

    def _changed(self) -> None:
        self.changes += 1

    async def give(self, frame: bytes, looks: int) -> None:
        """Have a frame answered, and wait until it has been looked at, by when there were so many `looks`."""
        self.check.saw_frame(memoryview(bytearray(frame)))
        await until(lambda: len(self.lengths) == looks)


@contextlib.asynccontextmanager
async def checking() -> AsyncIterator[Told]:
    with bench() as tiny:
        told = Told(tiny)
        working = asyncio.create_task(told.check.run())
        try:
            yield told
        finally:
            working.cancel()


def length_of(frame: bytes) -> int:
    with bench() as tiny:
        head = tiny.stages.prepare(["frame", "decode", "resize"], ["resize"])
        return encode("webp-lossless", head.run({GRAPH.source: as_frame(frame)})["resize"]).entry(0).nbytes


def test_the_first_frames_are_coded_each_and_then_one_now_and_then() -> None:
    """Each tells what the codec makes of it; once there are enough it is said; no frame is coded for nobody."""

    async def main() -> None:
        async with checking() as told:
            frame = jpeg()
            told.check.saw_frame(memoryview(bytearray(frame)))
            told.check.wish(CODED)
            for look in range(1, LOOKS + 1):
                assert told.changes == 0
                await told.give(frame, look)
            await until(lambda: told.changes == 1)
            await told.give(frame, LOOKS)
            told.now += EVERY_S
            await told.give(frame, LOOKS + 1)
            told.check.wish(None)
            told.now += EVERY_S
            await told.give(frame, LOOKS + 1)
            assert told.lengths == [("resize", "webp-lossless", length_of(frame))] * (LOOKS + 1)
            assert told.changes == 1

    run(main())


def test_a_frame_that_cannot_be_coded_is_passed_over(capsys: pytest.CaptureFixture[str]) -> None:
    """It has been answered, or has failed, by itself; the next ones are coded."""

    async def main() -> None:
        async with checking() as told:
            told.check.wish(CODED)
            told.check.saw_frame(memoryview(bytearray(b"no image")))
            await until(lambda: "cannot be coded" in capsys.readouterr().out)
            await told.give(jpeg(), 1)

    run(main())


def test_an_edge_learns_that_its_frames_are_shorter_than_the_profiled_one() -> None:
    """Alone it takes 610 ms, and a link whose image was profiled to take 800 ms takes a part of that."""

    async def main() -> None:
        with bench() as tiny:
            short = length_of(jpeg())
            profiled = {"resize": (Coding("webp-lossless", RAW_BYTES - 1, 0.0, 0.0),)}
            assert short < RAW_BYTES / 2
            bps = RAW_BYTES * 8e3 / 800.0
            edge, cloud = replace(EDGE, codings=profiled), replace(CLOUD, codings=profiled)
            async with planning(tiny, bps, edge=edge, cloud=cloud) as loop:
                assert loop.cut == "edge-only"
                working = asyncio.create_task(loop.lengths.run())

                def moves_with_another_frame() -> bool:
                    loop.controller.saw_answered(memoryview(bytearray(jpeg())))
                    return loop.cut != "edge-only"

                await until(moves_with_another_frame)
                assert loop.cut == "after resize as webp-lossless"
                working.cancel()

    run(main())


def test_lengths_are_those_of_the_real_codec() -> None:
    """The coded image is the image: what is told is what would be sent."""
    with bench() as tiny:
        head = tiny.stages.prepare(["frame", "decode", "resize"], ["resize"])
        image = head.run({GRAPH.source: as_frame(jpeg())})["resize"]
    assert image.dtype == torch.uint8
    assert 0 < length_of(jpeg()) < image.numel() + 100
