"""Frames that are coded to see how long they become: which cut's codecs, how often, and what comes of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from common.partition.closed_sets import enumerate_closed_sets
from common.partition.codings import Codings
from common.partition.decide import Conditions, decide
from common.partition.frontier import Frontier
from common.plan import Cut, Mode
from common.profile import Coding, Profile
from edge_daemon.length_check import (
    EVERY_S,
    FIRST_SHARE,
    LONGEST_S,
    LOOKS,
    STALE_S,
    LengthCheck,
    cuts_to_look_at,
)
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


def codings_of(edge: Profile) -> Codings:
    return Codings.of(GRAPH, replace(edge, codings=CODINGS), replace(CLOUD, codings=CODINGS))


def frontier(edge: Profile) -> Frontier:
    return Frontier.build(enumerate_closed_sets(GRAPH), edge.unit_ms, CLOUD.unit_ms, codings_of(edge))


def bandwidth(link_ms: float) -> Conditions:
    """A link that carries the coded image in so many ms."""
    return Conditions(bandwidth_bps=RAW_BYTES / 2 * 8e3 / link_ms, rate_fps=1.0)


def looked_at(edge: Profile, link_ms: float, present: Cut, mode: Mode = Mode.LIGHT) -> tuple[Cut, ...]:
    return cuts_to_look_at(frontier(edge), bandwidth(link_ms), present, mode)


def test_a_cut_that_comes_near_and_codes_frames_is_looked_at() -> None:
    """The edge alone takes 610 ms: the image may take as long and half as long again, and no longer."""
    assert looked_at(EDGE, 590.0, ALONE) == (CODED,)
    assert looked_at(EDGE, 890.0, ALONE) == (CODED,)
    assert looked_at(EDGE, 910.0, ALONE) == ()


def test_what_frames_tell_by_themselves_is_not_looked_at() -> None:
    """Those in force are sent so; of what another codec without loss would make of them that says enough."""
    assert looked_at(EDGE, 590.0, CODED) == ()
    assert looked_at(EDGE, 590.0, Cut.from_label(GRAPH, "after resize as zstd")) == ()
    assert looked_at(EDGE, 590.0, Cut.from_label(GRAPH, "after resize as jpeg75")) == (CODED,)


def test_the_network_is_not_run_to_see_what_a_codec_makes_of_it() -> None:
    """It costs more than that would tell, and depends on the frame much less: though that cut would be the best."""
    late = replace(EDGE, unit_ms={**EDGE.unit_ms, "normalize": 10.0, "third": 590.0})
    behind = Cut.from_label(GRAPH, "after add as zstd")
    assert decide(frontier(late), bandwidth(590.0)).cut == behind
    assert looked_at(late, 590.0, ALONE) == (CODED,)
    assert looked_at(late, 1200.0, ALONE) == ()


def test_where_throughput_counts_the_bottleneck_is_what_comes_near() -> None:
    """900 ms on the link and the cloud's 7: near the 610 by the link alone, which is what a frame takes there."""
    slow_cloud = replace(CLOUD, unit_ms=dict.fromkeys(GRAPH.names, 100.0))
    both = Frontier.build(enumerate_closed_sets(GRAPH), EDGE.unit_ms, slow_cloud.unit_ms, codings_of(EDGE))
    near = bandwidth(600.0)
    assert cuts_to_look_at(both, near, ALONE, Mode.LIGHT) == ()
    assert cuts_to_look_at(both, near, ALONE, Mode.OVERLOADED) == (CODED,)
    assert cuts_to_look_at(both, replace(near, rate_fps=None), ALONE, Mode.DRAIN) == (CODED,)


class Watched(LengthCheck):
    """A check that says when it has nothing to do."""

    _looking = False

    @property
    def idle(self) -> bool:
        return not (self._looking or self._work.is_set())

    async def _look(self, *arguments: Any) -> None:
        self._looking = True
        await super()._look(*arguments)
        self._looking = False


class Told:
    """What a check has told, and a clock for it."""

    def __init__(self, tiny: Bench) -> None:
        self.now = 1000.0
        self.lengths: list[tuple[str, str, tuple[int, ...]]] = []
        self.changes = 0
        self.check = Watched(tiny.stages, tiny.compute, self._tell, self._changed, lambda: self.now)

    def _tell(self, unit: str, codec: str, nbytes: Sequence[int]) -> None:
        self.lengths.append((unit, codec, tuple(nbytes)))

    def _changed(self) -> None:
        self.changes += 1

    async def give(self, *frames: bytes, after_s: float = 10.0) -> int:
        """Have frames answered, `after_s` from now; return how many were coded by the time that all is done."""
        self.now += after_s
        before = sum(len(looks.found) for looks in self.check._wished.values())
        for frame in frames:
            self.check.saw_frame(memoryview(bytearray(frame)))
            await until(lambda: self.check.idle)
        return sum(len(looks.found) for looks in self.check._wished.values()) - before


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
    """What the codec made of them is told once there are enough, and then by the last ones."""

    async def main() -> None:
        async with checking() as told:
            frame, length = jpeg(), length_of(jpeg())
            assert await told.give(frame) == 0, "nobody wishes for it"
            told.check.wish([CODED])
            for _ in range(LOOKS):
                assert (told.lengths, told.changes) == ([], 0)
                assert await told.give(frame) == 1
            assert told.lengths == [("resize", "webp-lossless", (length,) * LOOKS)]
            assert told.changes == 1
            assert await told.give(frame, frame) == 0
            assert await told.give(frame, frame, after_s=EVERY_S) == 1
            assert told.lengths[1:] == [("resize", "webp-lossless", (length,) * (LOOKS + 1))]
            told.check.wish([])
            assert await told.give(frame, after_s=EVERY_S) == 0
            assert told.changes == 1

    run(main())


def test_a_cut_that_was_in_force_meanwhile_begins_anew() -> None:
    """Its frames have told more than the few of before; so does one that nobody has looked at for minutes."""

    async def main() -> None:
        async with checking() as told:
            told.check.wish([CODED])
            for _ in range(LOOKS):
                await told.give(jpeg())
            told.check.wish([])
            told.check.wish([CODED])
            assert await told.give(jpeg()) == 0, (
                "one that comes near now and then is not looked at all the time"
            )
            assert await told.give(jpeg(), after_s=EVERY_S) == 1
            for _ in range(LOOKS - 1):
                assert len(told.lengths) == 1
                await told.give(jpeg())
            assert len(told.lengths) == 2
            await told.give(jpeg(), after_s=STALE_S + 1.0)
            assert len(told.lengths) == 2

    run(main())


def test_two_cuts_are_looked_at_one_after_the_other_and_then_in_turn() -> None:
    """Together no more often than one would be."""
    other = Cut.from_label(GRAPH, "after normalize as zstd")

    async def main() -> None:
        async with checking() as told:
            told.check.wish([CODED, other])
            looks = told.check._wished
            for _ in range(LOOKS):
                assert await told.give(jpeg()) == 1
            assert [len(looks[cut].found) for cut in (CODED, other)] == [LOOKS, 0]
            for _ in range(LOOKS):
                assert await told.give(jpeg()) == 1
            assert [len(looks[cut].found) for cut in (CODED, other)] == [LOOKS, LOOKS]
            assert await told.give(jpeg()) == 0
            for _ in range(2):
                assert await told.give(jpeg(), jpeg(), after_s=EVERY_S) == 1
            assert [len(looks[cut].found) for cut in (CODED, other)] == [LOOKS + 1, LOOKS + 1]

    run(main())


def test_a_frame_that_cannot_be_coded_is_passed_over(capsys: pytest.CaptureFixture[str]) -> None:
    """It has been answered, or has failed, by itself; a later one is coded, and not at once."""

    async def main() -> None:
        async with checking() as told:
            told.check.wish([CODED])
            assert await told.give(b"no image") == 0
            assert "cannot be coded" in capsys.readouterr().out
            assert await told.give(jpeg()) == 0
            assert await told.give(jpeg(), after_s=EVERY_S) == 1

    run(main())


def test_a_frame_is_let_go_of_though_nobody_wishes_for_it_any_more() -> None:
    """One that came while another was coded is not kept until the next wish, which may be never."""

    async def main() -> None:
        async with checking() as told:
            told.check.wish([CODED])
            data = bytearray(jpeg())
            told.check.saw_frame(memoryview(data))
            told.check.wish([])
            await until(lambda: told.check.idle)
            data.append(0)  # which memory that is looked at does not allow

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


def test_without_a_cloud_no_frame_is_coded() -> None:
    """Nothing could be sent, however short."""

    async def main() -> None:
        with bench() as tiny:
            edge, cloud = replace(EDGE, codings=CODINGS), replace(CLOUD, codings=CODINGS)
            async with planning(tiny, RAW_BYTES / 2 * 8e3 / 700.0, edge=edge, cloud=cloud) as loop:
                assert list(loop.lengths._wished) == [CODED]
                loop.controller.saw_answered(memoryview(bytearray(jpeg())))
                assert loop.lengths._frame is not None
                loop.down()
                assert loop.lengths._frame is None
                loop.controller.saw_answered(memoryview(bytearray(jpeg())))
                assert loop.lengths._frame is None

    run(main())


def test_what_takes_long_to_code_is_looked_at_before_it_is_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else five looks would begin anew each time, and take many times the share; and the plan would go by the profile
    in between."""

    async def main() -> None:
        async with checking() as told:

            async def coded(*_: object) -> tuple[dict[tuple[str, str], int], float]:
                return {("resize", "webp-lossless"): 1000}, 10.0

            monkeypatch.setattr(told.check, "_coded", coded)
            told.check.wish([CODED])
            for _ in range(LOOKS):
                assert await told.give(jpeg(), after_s=10.0 / FIRST_SHARE) == 1
            for _ in range(3):
                assert await told.give(jpeg(), after_s=LONGEST_S - 1.0) == 0
                assert await told.give(jpeg(), after_s=1.0) == 1
            assert told.changes == 1

    run(main())
