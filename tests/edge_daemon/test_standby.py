"""Facts about the plan that stands by: which it is, that it is used without waiting, and when it is void."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial

import pytest

from common.graph import ModelGraph
from common.partition.closed_sets import enumerate_closed_sets
from common.partition.decide import Conditions, choose
from common.partition.frontier import Frontier
from common.plan import Cut
from common.wire.messages import Welcome
from edge_daemon.refused_stages import MOST
from edge_daemon.standby import cut_to_stand_by
from tests.edge_daemon.bench import Bench, bench
from tests.edge_daemon.controller_loop import GRAPH, SLOW, Loop, planning
from tests.event_loop import run, until

SIZES = {"f": 200_000, "a": 150_000, "b": 20_000, "c": 10}
CHAIN = ModelGraph.from_links(SIZES, [("f", "a"), ("a", "b"), ("b", "c")])
EDGE = {"f": 0.0, "a": 20.0, "b": 100.0, "c": 1_000.0}
FRONTIER = Frontier.build(enumerate_closed_sets(CHAIN), EDGE, dict.fromkeys(CHAIN.names, 1.0))
WELCOME = Welcome(session="s", cloud="c", device="d", credit=4)


def conditions(bps: float) -> Conditions:
    return Conditions(bandwidth_bps=bps, rate_fps=1.0)


def cut_after(count: int) -> Cut:
    return Cut.of(CHAIN, CHAIN.names[:count])


CLOUD_ONLY, AFTER_B = cut_after(1), cut_after(3)


@pytest.mark.parametrize(
    ("bps", "present", "stands_by"),
    [
        (20e6, CLOUD_ONLY, AFTER_B),  # a quarter: 5 Mbit/s
        (100e6, CLOUD_ONLY, AFTER_B),  # a quarter would be the same, a sixteenth is not
        (6e6, AFTER_B, CLOUD_ONLY),  # slower, the same: so the faster one
        (1e12, CLOUD_ONLY, None),
        (1e3, Cut.edge_only(CHAIN), None),
    ],
)
def test_what_a_slower_link_would_need_stands_by(bps: float, present: Cut, stands_by: Cut | None) -> None:
    """The first that differs: at a quarter of the bandwidth, at a sixteenth, at four times of it."""
    assert cut_to_stand_by(FRONTIER, conditions(bps), present) == stands_by


def test_what_stands_by_remains_while_a_slower_link_would_need_it() -> None:
    """Near a boundary the first choice changes with each measurement, and each change is compiled on both sides."""
    near = conditions(60e6)
    present, quarter, sixteenth = (
        FRONTIER.cut(choose(FRONTIER, conditions(60e6 * factor)).entry) for factor in (1.0, 1 / 4, 1 / 16)
    )
    assert len({present, quarter, sixteenth}) == 3
    assert cut_to_stand_by(FRONTIER, near, present) == quarter
    assert cut_to_stand_by(FRONTIER, near, present, sixteenth) == sixteenth
    assert cut_to_stand_by(FRONTIER, near, present, cut_after(2)) == quarter, "nobody would need that one"
    faster = conditions(6e6)
    assert cut_to_stand_by(FRONTIER, faster, AFTER_B, CLOUD_ONLY) == CLOUD_ONLY, (
        "slower, nothing else is needed"
    )


def test_what_hardly_betters_the_edge_alone_does_not_stand_by() -> None:
    """Where no cut keeps the rate the best may save the edge its last unit: compiled twice for next to nothing."""
    edge = dict(EDGE, b=990.0, c=10.0)
    frontier = Frontier.build(enumerate_closed_sets(CHAIN), edge, dict.fromkeys(CHAIN.names, 1.0))
    now, quarter = (Conditions(bandwidth_bps=bps, rate_fps=4.0) for bps in (2e6, 0.5e6))
    assert frontier.cut(choose(frontier, quarter).entry) == AFTER_B
    assert cut_to_stand_by(frontier, now, cut_after(2)) is None


@contextlib.asynccontextmanager
async def standing_by(tiny: Bench, bps: float) -> AsyncIterator[Loop]:
    """A controller in force at `bps`, with a plan for a slower or a faster link ready."""
    async with planning(tiny, bps) as loop:
        loop.uplink.cloud = WELCOME
        task = asyncio.create_task(loop.standby.run())
        try:
            await loop.looked()
            await until(lambda: loop.standby._ready is not None)
            yield loop
            assert not task.done(), "it goes on, whatever happened"
        finally:
            task.cancel()
            await asyncio.wait([task])


MIDDLE, LESS = 200e6, 50e6
"""All in the cloud is best here; and at a quarter of it another cut, beside which the former stands by."""


def test_a_plan_that_stands_by_is_adopted_without_asking_the_cloud() -> None:
    """The cloud knows its epoch already: the request would lie behind what the slow link still has to carry."""

    async def main() -> None:
        with bench() as tiny:
            async with standing_by(tiny, MIDDLE) as loop:
                assert loop.cut == "cloud-only"
                asked = len(loop.uplink.asked)
                known = loop.uplink.asked[-1]
                assert [GRAPH.names[i] for i in known.inputs] == ["resize"]
                loop.uplink.gate.clear()  # no request comes through
                loop.measured(SLOW)
                await loop.looked()
                assert loop.cut == "after resize"
                active = loop.controller.active
                assert active.plan.epoch == known.epoch
                assert active.parts.head is not None
                assert active.parts.rest is not None
                assert loop.uplink.asked[asked:] in ([], loop.uplink.asked[-1:])  # at most the next one's
                loop.uplink.gate.set()

    run(main())


def test_what_was_in_force_stands_by_for_the_way_back() -> None:
    """After the step down the faster link's plan is prepared anew, under a younger epoch than any in force so far."""

    async def main() -> None:
        with bench() as tiny:
            async with standing_by(tiny, MIDDLE) as loop:
                loop.measured(LESS)
                await loop.looked()
                assert loop.cut == "after resize"
                await until(lambda: loop.standby._ready is not None)
                asked = len(loop.uplink.asked)
                loop.measured(MIDDLE)
                await loop.looked()
                assert loop.cut == "cloud-only"
                assert loop.controller.active.plan.epoch in [r.epoch for r in loop.uplink.asked[:asked]]

    run(main())


def test_another_plan_in_force_makes_its_epoch_void() -> None:
    """Epochs increase from plan to plan (the loop's end asserts it): what was prepared before is prepared again."""

    async def main() -> None:
        with bench() as tiny:
            async with standing_by(tiny, MIDDLE) as loop:
                old = loop.standby._ready
                assert old is not None
                cut = Cut.from_label(GRAPH, "after resize")
                assert loop.standby.take(cut) is old
                loop.down()  # the edge alone, under an epoch of its own
                loop.up()
                assert loop.uplink.cloud is old.session
                assert loop.standby.take(cut) is None
                loop.measured(SLOW)
                await loop.looked()
                assert loop.cut == "after resize"
                assert loop.controller.active.plan.epoch > old.epoch

    run(main())


def test_another_session_knows_nothing_of_it() -> None:
    """What stands by was prepared in the cloud for one connection: after the next greeting the cloud is asked."""

    async def main() -> None:
        with bench() as tiny:
            async with standing_by(tiny, MIDDLE) as loop:
                loop.uplink.cloud = Welcome(session="t", cloud="c", device="d", credit=4)
                asked = len(loop.uplink.asked)
                loop.measured(SLOW)
                await loop.looked()
                assert loop.cut == "after resize"
                assert loop.controller.active.plan.epoch in [r.epoch for r in loop.uplink.asked[asked:]]

    run(main())


def stands_by(loop: Loop, cut: Cut) -> bool:
    return loop.standby.take(cut) is not None


def test_what_stands_by_one_after_another_takes_one_place_in_the_cloud() -> None:
    """It keeps a few epochs of a session, and the plan in force has one of them for hours."""

    async def main() -> None:
        with bench() as tiny:
            async with standing_by(tiny, MIDDLE) as loop:
                first = loop.uplink.asked[-1].epoch
                for count in (4, 5, 6):
                    cut, asked = Cut.of(GRAPH, GRAPH.names[:count]), len(loop.uplink.asked)
                    loop.standby.wish(cut)
                    await until(partial(stands_by, loop, cut))
                    assert [request.epoch for request in loop.uplink.asked[asked:]] == [first]

    run(main())


@pytest.mark.parametrize("breaks", [False, True])
def test_a_plan_that_cannot_be_prepared_costs_nothing(breaks: bool) -> None:
    """Refused by the cloud it is not asked for again soon, others may be; with a broken line it is, later."""

    async def main() -> None:
        with bench() as tiny:
            async with planning(tiny, MIDDLE) as loop:
                loop.uplink.cloud = WELCOME
                loop.uplink.breaks = breaks
                loop.uplink.refuses = None if breaks else "no room"
                before = len(loop.uplink.asked)
                task = asyncio.create_task(loop.standby.run())
                for _ in range(3):
                    await loop.looked()
                    await until(lambda: not loop.standby._work.is_set())
                    await tiny.compute.run(lambda: None)
                    await asyncio.sleep(0)
                tries = 2 if breaks else 1
                await until(lambda: len(loop.uplink.asked) >= before + tries)
                assert loop.cut == "cloud-only"
                assert not task.done()
                asked = [request.units for request in loop.uplink.asked[before:]]
                assert breaks or len(set(asked)) == len(asked) <= MOST
                task.cancel()
                await asyncio.wait([task])

    run(main())
