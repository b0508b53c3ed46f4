"""Facts about lossy cuts in the loop: used once certified, left when they are no longer."""

from __future__ import annotations

import torch

from common.profile import Coding, Profile
from common.wire.codecs import Loss
from edge_daemon.fidelity import FEWEST_FRAMES, Comparison
from models.preprocess import as_frame
from tests.edge_daemon.bench import Bench, bench
from tests.edge_daemon.controller_loop import (
    CLOUD,
    EDGE,
    FAST,
    FRAME_BYTES,
    GRAPH,
    KEY,
    SLOW,
    Loop,
    going,
)
from tests.event_loop import run, until
from tests.tiny_model import jpeg

RAW = GRAPH["resize"].output_bytes
CODINGS = {"resize": (Coding("webp-lossless", RAW - 1, 0.0, 0.0), Coding("jpeg90", RAW / 100, 0.0, 0.0))}
LOSSY = "after resize as jpeg90"
VERY_SLOW = 1e5


def answer(tiny: Bench, data: memoryview) -> torch.Tensor:
    compiled = tiny.stages.prepare(GRAPH.names, (GRAPH.sink,))
    return compiled.run({GRAPH.source: as_frame(bytes(data))})[GRAPH.sink]


async def ready(loop: Loop, tiny: Bench, bps: float) -> None:
    """Give the loop profiles with codecs, frames to calibrate with, and a link."""
    for seed in range(FEWEST_FRAMES):
        data = memoryview(bytearray(jpeg(seed)))
        loop.certifier.saw_answer(data, loop.controller.active.plan.cut, answer(tiny, data))
        loop.controller.saw_frame(FRAME_BYTES)
    loop.controller.set_profiles(Profile(KEY, EDGE.unit_ms, CODINGS), Profile(KEY, CLOUD.unit_ms, CODINGS))
    loop.measured(bps)
    loop.up()
    await loop.looked()


def test_a_lossy_cut_is_wished_for_and_not_used_before_it_is_certified() -> None:
    """The best lossless cut is in force until the certificate is there; the cloud is asked for nothing lossy."""

    async def main() -> None:
        with bench() as tiny:
            async with going(tiny, losses=frozenset({Loss.IMAGE})) as loop:
                await ready(loop, tiny, VERY_SLOW)
                assert loop.cut != LOSSY
                assert loop.certifier._wished is not None
                assert loop.certifier._wished.label == LOSSY
                loop.certifier.fidelity.verdict(loop.certifier._wished, [Comparison(True, 0.0)], 1)
                loop.controller.look_again()
                await until(lambda: loop.cut == LOSSY)

    run(main())


def test_a_lossy_cut_is_left_when_its_answers_agree_no_longer() -> None:
    """A revoked certificate moves the cut at the next look, and the reason says why."""

    async def main() -> None:
        with bench() as tiny:
            async with going(tiny, losses=frozenset({Loss.IMAGE})) as loop:
                await ready(loop, tiny, VERY_SLOW)
                fidelity = loop.certifier.fidelity
                wished = loop.certifier._wished
                assert wished is not None
                fidelity.verdict(wished, [Comparison(True, 0.0)], 1)
                loop.controller.look_again()
                await until(lambda: loop.cut == LOSSY)
                fidelity.recheck(wished, Comparison(False, 0.5))
                await loop.looked()
                assert loop.cut != LOSSY
                assert "after resize as jpeg90 agrees too rarely" in loop.controller.active.plan.reason

    run(main())


def test_lossy_codecs_are_off_unless_allowed() -> None:
    """With nothing to lose, no lossy cut is even wished for, however slow the link."""

    async def main() -> None:
        with bench() as tiny:
            async with going(tiny) as loop:
                for bps in (FAST, SLOW, VERY_SLOW):
                    await ready(loop, tiny, bps)
                    assert loop.certifier._wished is None
                    assert "jpeg" not in loop.cut

    run(main())
