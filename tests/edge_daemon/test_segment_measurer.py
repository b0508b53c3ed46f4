"""Facts about measuring whole segments on both sides."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, cast

import pytest

from common.errors import LinkLostError
from common.plan import Cut
from common.wire.messages import MeasureReply, MeasureRequest
from edge_daemon.segment_measurer import BUDGET_MS, FEWEST, MOST_SHARE, SegmentMeasurer, affordable
from edge_daemon.uplink import Uplink
from models.measuring import TURNS
from tests.edge_daemon.bench import Bench, bench
from tests.event_loop import run, until
from tests.tiny_model import tiny_model

GRAPH = tiny_model().graph
CUTS = [Cut.of(GRAPH, GRAPH.names[:count]) for count in range(1, len(GRAPH) + 1)]
Learnt = dict[str, tuple[float | None, float | None]]


class FakeUplink:
    def __init__(self) -> None:
        self.asked: list[MeasureRequest] = []
        self.reply = MeasureReply(number=0, measured=True, reason="", stage_ms=3.0, whole_ms=12.0)
        self.gone_at: int | None = None

    async def measure(self, request: MeasureRequest) -> MeasureReply:
        if len(self.asked) == self.gone_at:
            raise LinkLostError("gone")
        self.asked.append(request)
        return replace(self.reply, number=request.number)


@contextlib.asynccontextmanager
async def at_work(
    tiny: Bench,
    uplink: FakeUplink,
    wholes: list[float] | None = None,
    cloud_wholes: list[float] | None = None,
) -> AsyncIterator[tuple[SegmentMeasurer, Learnt]]:
    learnt: Learnt = {}
    wholes = wholes if wholes is not None else []

    def learn(cut: Cut, head_share: float | None, tail_share: float | None) -> None:
        learnt[cut.label] = (head_share, tail_share)

    cloud_wholes = cloud_wholes if cloud_wholes is not None else []
    measurer = SegmentMeasurer(
        tiny.stages, tiny.compute, cast(Uplink, uplink), learn, wholes.append, cloud_wholes.append
    )
    task = asyncio.create_task(measurer.run())
    try:
        yield measurer, learnt
        assert not task.done(), "it goes on, whatever happened"
    finally:
        task.cancel()
        await asyncio.wait([task])


def test_each_cut_is_measured_on_both_sides_in_shares_of_the_network() -> None:
    """The ends are wholes already; pre-processing has no share on the edge, and in the cloud only behind `resize`."""

    async def main() -> None:
        with bench() as tiny:
            uplink, wholes, cloud_wholes = FakeUplink(), list[float](), list[float]()
            async with at_work(tiny, uplink, wholes, cloud_wholes) as (measurer, learnt):
                assert measurer.left is None, "nobody knows before the first wish"
                measurer.wish("profiles", lambda: CUTS)
                assert measurer.left == len(CUTS)
                await until(lambda: measurer.left == 0)
                before, inside = CUTS[2:4], CUTS[4:-1]
                assert set(learnt) == {cut.label for cut in (*before, *inside)}
                for cut in before:  # after resize, after normalize
                    assert learnt[cut.label] == (None, 0.25)
                for cut in inside:
                    head_share, tail_share = learnt[cut.label]
                    assert head_share is not None
                    assert head_share > 0
                    assert tail_share == 0.25
                assert len({request.number for request in uplink.asked}) == len(learnt)
                assert len(wholes) == len(inside)
                assert min(wholes) > 0
                assert cloud_wholes == [12.0] * len(learnt)

    run(main())


def test_nobody_knows_what_is_left_while_it_is_measured_for_older_profiles() -> None:
    """A device is told to have measured all only when it has for the profiles that it plans with."""

    async def main() -> None:
        with bench() as tiny:
            async with at_work(tiny, FakeUplink()) as (measurer, learnt):
                measurer.wish("old", lambda: CUTS[4:5])
                measurer.wish("new", lambda: CUTS[5:6])
                assert measurer.left is None
                await until(lambda: not measurer._wished)
                assert set(learnt) == {CUTS[4].label}
                assert measurer.left is None, "all is measured, but for the old ones"
                measurer.wish("new", lambda: CUTS[5:6])
                assert measurer.left == 1
                await until(lambda: measurer.left == 0)
                assert set(learnt) == {CUTS[4].label, CUTS[5].label}

    run(main())


def test_a_segment_that_cannot_be_measured_keeps_no_other_from_being(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the executor says of one cut is logged; the next one is measured."""

    async def main() -> None:
        with bench() as tiny:
            uplink = FakeUplink()
            prepare = tiny.stages.prepare_beside
            broken = tuple(name for name in CUTS[4].edge_units if name in tiny.model.network_units)

            async def sometimes(units: Any, outputs: Any, *more: Any) -> Any:
                if tuple(units) == broken:
                    raise RuntimeError("no memory")
                return await prepare(units, outputs, *more)

            monkeypatch.setattr(tiny.stages, "prepare_beside", sometimes)
            async with at_work(tiny, uplink) as (measurer, learnt):
                measurer.wish("profiles", lambda: CUTS[4:6])
                await until(lambda: not measurer._wished)
                assert set(learnt) == {CUTS[5].label}

    run(main())


def test_a_pair_of_profiles_is_measured_once() -> None:
    """Wishes at every decision cost nothing more; new profiles are measured again."""

    async def main() -> None:
        with bench() as tiny:
            uplink = FakeUplink()
            async with at_work(tiny, uplink) as (measurer, _):
                for level, asked in (("profiles", 1), ("profiles", 1), ("others", 2)):
                    measurer.wish(level, lambda: CUTS[4:5])
                    await until(lambda: not measurer._wished)
                    assert len(uplink.asked) == asked

    run(main())


def test_what_a_lost_link_broke_off_is_measured_when_it_is_back() -> None:
    """What was learnt before stays, and is not measured again: a link that comes and goes would see no other cut."""

    async def main() -> None:
        with bench() as tiny:
            uplink = FakeUplink()
            uplink.gone_at = 1
            async with at_work(tiny, uplink) as (measurer, learnt):
                measurer.wish("profiles", lambda: CUTS[4:7])
                await until(lambda: not measurer._wished)
                assert (len(learnt), measurer.left) == (1, None)
                uplink.gone_at = None
                measurer.wish("profiles", lambda: CUTS[4:7])
                assert measurer.left == 2
                await until(lambda: measurer.left == 0)
                assert len(learnt) == 3
                assert len(uplink.asked) == 3
                measurer.wish("others", lambda: CUTS[4:7])
                assert measurer.left == 3, "other profiles are another matter"

    run(main())


@pytest.mark.parametrize(
    ("reply", "tail_share"),
    [
        (MeasureReply(number=0, measured=False, reason="no memory", stage_ms=0, whole_ms=0), None),
        (MeasureReply(number=0, measured=True, reason="", stage_ms=5.0, whole_ms=0.0), None),
        (MeasureReply(number=0, measured=True, reason="", stage_ms=1e9, whole_ms=1.0), MOST_SHARE),
    ],
    ids=["refused", "nothing", "absurd"],
)
def test_a_cloud_that_tells_nonsense_is_not_believed(reply: MeasureReply, tail_share: float | None) -> None:
    """A refusal, a division by nothing and an absurd time leave the head's share as it is."""

    async def main() -> None:
        with bench() as tiny:
            uplink = FakeUplink()
            uplink.reply = reply
            async with at_work(tiny, uplink) as (measurer, learnt):
                measurer.wish("profiles", lambda: CUTS[4:5])
                await until(lambda: bool(learnt))
                ((head_share, found),) = learnt.values()
                assert head_share is not None
                assert found == tail_share

    run(main())


def test_a_slow_device_measures_fewer_cuts() -> None:
    """The budget is in time; a few cuts are measured however slow it is."""
    assert len(affordable(CUTS, 0.0)) == len(CUTS)
    assert len(affordable(CUTS, 1e9)) == FEWEST
    assert len(affordable(CUTS, BUDGET_MS / (2 * TURNS * 5))) == 5
