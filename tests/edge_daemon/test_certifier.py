"""Facts about certifying lossy cuts on frames."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import torch

from common.plan import Cut
from common.wire.codecs import Loss
from edge_daemon import certifier as module
from edge_daemon.certifier import Certifier
from edge_daemon.fidelity import FEWEST_FRAMES, RECHECK_EVERY, Fidelity
from models.preprocess import as_frame
from tests.edge_daemon.bench import Bench, bench
from tests.event_loop import run, until
from tests.tiny_model import jpeg, tiny_model

GRAPH = tiny_model().graph
UNITS = ("frame", "decode", "resize", "normalize", "first", "second")
LOSSY = Cut.of(GRAPH, UNITS, {"first": "f16", "second": "int8"})
ALL = frozenset({Loss.F16, Loss.INT8, Loss.IMAGE})


def frame(seed: int) -> memoryview:
    return memoryview(bytearray(jpeg(seed)))


def whole(data: memoryview, tiny: Bench) -> torch.Tensor:
    compiled = tiny.stages.prepare(GRAPH.names, (GRAPH.sink,))
    return compiled.run({GRAPH.source: as_frame(bytes(data))})[GRAPH.sink]


@contextlib.asynccontextmanager
async def at_work(tiny: Bench, losses: frozenset[Loss] = ALL) -> AsyncIterator[tuple[Certifier, list[str]]]:
    told: list[str] = []
    certifier = Certifier(Fidelity(losses, 0.99), tiny.stages, tiny.compute, lambda: told.append("changed"))
    task = asyncio.create_task(certifier.run())
    try:
        yield certifier, told
        assert not task.done(), "it goes on, whatever happened"
    finally:
        task.cancel()
        await asyncio.wait([task])


def feed(certifier: Certifier, tiny: Bench, count: int, cut: Cut = LOSSY) -> None:
    for seed in range(count):
        data = frame(seed)
        certifier.saw_answer(data, cut, whole(data, tiny))


def test_a_cut_that_agrees_is_certified_and_made_known() -> None:
    """Calibration frames run split and unsplit; equal first classes make a certificate, and planning is told."""

    async def main() -> None:
        with bench() as tiny:
            async with at_work(tiny) as (certifier, told):
                feed(certifier, tiny, FEWEST_FRAMES, Cut.edge_only(GRAPH))
                certifier.wish(LOSSY)
                await until(lambda: bool(told))
                assert certifier.fidelity.certified == (LOSSY,)
                certificate = certifier.fidelity.of(LOSSY)
                assert certificate is not None
                assert certificate.frames == FEWEST_FRAMES
                assert 0 < certificate.largest_change < 0.05, "it is lossy, and a little is seen of that"

    run(main())


def test_a_cut_that_spoils_answers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the codec destroys what crosses, the first classes differ, and the cut is not used."""
    monkeypatch.setattr(module, "received", lambda codec, tensor: torch.randn_like(tensor) * 100)

    async def main() -> None:
        with bench() as tiny:
            async with at_work(tiny) as (certifier, told):
                feed(certifier, tiny, FEWEST_FRAMES)
                certifier.wish(LOSSY)
                await until(lambda: bool(told))
                assert certifier.fidelity.refused == (LOSSY,)

    run(main())


def test_nothing_is_certified_on_a_few_frames() -> None:
    """Before enough frames have come a wish is not heard; it is said again at the next decision."""

    async def main() -> None:
        with bench() as tiny:
            async with at_work(tiny) as (certifier, told):
                feed(certifier, tiny, FEWEST_FRAMES - 1)
                certifier.wish(LOSSY)
                certifier.saw_answer(frame(99), LOSSY, whole(frame(99), tiny))
                assert not certifier._work.is_set()
                certifier.wish(LOSSY)
                await until(lambda: bool(told))
                assert certifier.fidelity.certified == (LOSSY,)

    run(main())


def test_answers_under_a_lossy_cut_are_looked_at_again() -> None:
    """A wrong answer among many ends a certificate when its turn to be compared comes."""

    async def main() -> None:
        with bench() as tiny:
            async with at_work(tiny) as (certifier, told):
                feed(certifier, tiny, FEWEST_FRAMES, Cut.edge_only(GRAPH))
                certifier.wish(LOSSY)
                await until(lambda: len(told) == 1)
                data = frame(1)
                right = whole(data, tiny)
                for _ in range(RECHECK_EVERY):
                    certifier.saw_answer(data, LOSSY, right)
                await until(lambda: len(told) == 2)
                assert certifier.fidelity.may_use(LOSSY)
                wrong = right.clone()
                wrong[0, 0, 0] = (wrong[0, 0, 0] + 1) % 7
                for looks in (3, 4):  # one alone may be chance
                    assert certifier.fidelity.may_use(LOSSY)
                    for _ in range(RECHECK_EVERY):
                        certifier.saw_answer(data, LOSSY, wrong)
                    await until(lambda looks=looks: len(told) == looks)  # type: ignore[misc]
                assert not certifier.fidelity.may_use(LOSSY)

    run(main())


def test_without_losses_no_frame_is_kept() -> None:
    """Where lossy cuts are off, calibration costs no memory."""

    async def main() -> None:
        with bench() as tiny:
            async with at_work(tiny, frozenset()) as (certifier, _):
                feed(certifier, tiny, 20, Cut.edge_only(GRAPH))
                assert not certifier._frames

    run(main())


def test_calibration_frames_are_bounded_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of large frames fewer are kept, but as many as it takes to certify anything."""
    monkeypatch.setattr(module, "MOST_KEPT_BYTES", 5 * len(jpeg(0)))

    async def main() -> None:
        with bench() as tiny:
            async with at_work(tiny) as (certifier, _):
                feed(certifier, tiny, 20)
                assert len(certifier._frames) == FEWEST_FRAMES

    run(main())
