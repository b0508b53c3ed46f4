"""Facts about the dynamic loop and what surrounds it: clouds that fail, overload, fixed plans, the schedule."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import ClassVar

import pytest
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from common.plan import Cut, Mode
from edge_daemon import controller as module
from edge_daemon.patience import Progress
from tests.edge_daemon.bench import bench
from tests.edge_daemon.controller_loop import (
    CLOUD,
    CRAWLING,
    EDGE,
    FAST,
    FRAME_BYTES,
    GRAPH,
    Loop,
    going,
    planning,
)
from tests.edge_daemon.fake_cloud import WELCOME
from tests.event_loop import run, until


def falls(loop: Loop) -> None:
    loop.down()
    assert (loop.cut, loop.mode) == ("edge-only", Mode.STARTING)
    loop.up()


def answers_too_late(loop: Loop) -> None:
    """As on a link that carries a frame in half a minute: the edge alone is quicker."""
    late = loop.controller.active.plan
    for _ in range(2):  # those that are under way are late, too
        loop.controller.saw_late(late, None)
        assert (loop.cut, loop.mode) == ("edge-only", Mode.STARTING)


@pytest.mark.parametrize("lets_down", [falls, answers_too_late])
def test_a_cloud_that_let_frames_down_waits_for_the_profiles(lets_down: Callable[[Loop], None]) -> None:
    """While nothing is known but that, the edge alone is the safe way; with profiles the planner decides again."""

    async def main() -> None:
        with bench() as tiny:
            async with going(tiny) as loop:
                loop.up()
                await until(lambda: loop.cut == "cloud-only")
                lets_down(loop)
                await loop.looked()
                assert loop.cut == "edge-only"
                loop.measured(FAST)
                loop.controller.set_profiles(EDGE, CLOUD)
                await until(lambda: loop.cut == "cloud-only")
                assert loop.mode is Mode.LIGHT

    run(main())


def test_how_far_a_late_frame_had_come_tells_of_the_link() -> None:
    """Under every plan: where frames wait in line by design nobody looks at them before."""

    async def main() -> None:
        with bench() as tiny:
            async with planning(tiny, FAST, rate_fps=None) as loop:
                plan = loop.controller.active.plan
                assert plan.mode is Mode.DRAIN
                loop.controller.saw_late(
                    plan, Progress(delivered_bytes=125_000, outstanding_bytes=1, waited_s=2.0)
                )
                assert loop.estimate.bandwidth_bps == 500_000.0

    run(main())


def test_overload_is_told_with_the_rate_that_can_be_sustained(capsys: pytest.CaptureFixture[str]) -> None:
    """When no cut keeps the sampling rate, the least bottleneck is used, and the beginning is told once."""

    async def main() -> None:
        with bench() as tiny:
            async with planning(tiny, CRAWLING, rate_fps=30.0) as loop:
                plan = loop.controller.active.plan
                assert (plan.cut.label, plan.mode) == ("edge-only", Mode.OVERLOADED)
                assert plan.sustainable_fps == pytest.approx(1000 / EDGE.total_ms)
                await loop.looked()
                assert capsys.readouterr().out.count("overloaded: no cut keeps") == 1
                loop.measured(FAST)
                await loop.looked()
                assert "no longer overloaded" in capsys.readouterr().out

    run(main())


def test_without_a_cloud_the_edges_own_rate_is_known() -> None:
    """The profiles outlive the link: what the edge alone sustains is told, and the epoch stays."""

    async def main() -> None:
        with bench() as tiny:
            async with planning(tiny, rate_fps=10.0) as loop:
                loop.down()
                epoch = loop.controller.active.plan.epoch
                await loop.looked()
                plan = loop.controller.active.plan
                assert (plan.epoch, plan.cut.label, plan.mode) == (epoch, "edge-only", Mode.OVERLOADED)
                assert plan.sustainable_fps == pytest.approx(1000 / EDGE.total_ms)

    run(main())


def test_a_line_that_is_closing_leaves_plan_and_segments_together() -> None:
    """It cannot be used a moment before that is told: a look in between must not put another plan on its segments."""

    async def main() -> None:
        with bench() as tiny:
            async with planning(tiny) as loop:
                assert loop.cut == "cloud-only"
                loop.uplink.available = False
                await loop.looked()
                active = loop.controller.active
                assert active.uses_cloud == (active.parts.rest is not None)
                loop.down()
                assert loop.cut == "edge-only"

    run(main())


def test_a_plan_that_another_connection_was_asked_for_is_not_used() -> None:
    """The cloud prepares for a session: in one that came meanwhile the epoch would be unknown, frame by frame."""

    async def main() -> None:
        with bench() as tiny:
            async with going(tiny, fixed="cloud-only") as loop:
                loop.uplink.gate.clear()
                loop.up()
                await until(lambda: len(loop.uplink.asked) == 1)
                loop.uplink.cloud = WELCOME
                loop.uplink.gate.set()
                await loop.looked()
                await until(lambda: loop.cut == "cloud-only")
                assert len(loop.uplink.asked) == 2
                assert loop.controller.active.plan.epoch == loop.uplink.asked[1].epoch

    run(main())


def test_a_link_that_carried_nothing_for_a_while_divides_nothing_by_zero() -> None:
    """A late frame of which no byte has arrived tells of a bandwidth of zero; the next transfer is measured by it."""

    async def main() -> None:
        with bench() as tiny:
            async with planning(tiny) as loop:
                plan = loop.controller.active.plan
                loop.controller.saw_slow(Progress(delivered_bytes=0, outstanding_bytes=1000, waited_s=1.0))
                assert loop.estimate.bandwidth_bps == 0.0
                loop.controller.saw_transfer(plan, FRAME_BYTES, 5000.0)
                await loop.looked()

    run(main())


def test_a_link_that_was_slow_for_a_moment_is_looked_at_as_soon_as_frames_keep_off_it() -> None:
    """None of them would tell that it is as it was; the next look in turn is minutes away here."""

    async def main() -> None:
        with bench() as tiny:
            async with planning(tiny, FAST) as loop:
                plans: list[str] = []

                def measure() -> None:
                    plans.append(loop.cut)
                    loop.measured(FAST)

                loop.prober.measure = measure
                loop.controller.saw_slow(Progress(delivered_bytes=1000, outstanding_bytes=1, waited_s=1.0))
                await until(lambda: bool(plans) and loop.cut == "cloud-only")
                assert plans == ["edge-only"]

    run(main())


def test_larger_frames_are_planned_with() -> None:
    """The size of the frames seen lately is what would cross: when they grow, the cut moves."""

    async def main() -> None:
        with bench() as tiny:
            async with planning(tiny, 200e6) as loop:
                assert loop.cut == "cloud-only"
                for _ in range(20):
                    loop.controller.saw_frame(20 * FRAME_BYTES)
                await loop.looked()
                assert loop.cut == "after resize"
                assert loop.prober.saw == 40

    run(main())


def test_a_frame_whose_link_stood_still_for_a_while_is_a_frame_like_any() -> None:
    """Nothing of it had arrived when it was late, and the bandwidth was 0 then; its answer comes all the same."""

    async def main() -> None:
        with bench() as tiny:
            async with planning(tiny, FAST) as loop:
                plan = loop.controller.active.plan
                assert plan.cut.cloud_units
                loop.controller.saw_slow(Progress(0, FRAME_BYTES, 1.0))
                assert loop.estimate.bandwidth_bps == 0.0
                loop.controller.saw_transfer(plan, FRAME_BYTES, 1_500.0)
                assert loop.estimate.bandwidth_bps == pytest.approx(FRAME_BYTES * 8 / 1.5, rel=0.1)

    run(main())


@pytest.mark.parametrize("cut", ["cloud-only", "after first + second"])
def test_a_fixed_plan_is_used_whenever_the_cloud_is_there(cut: str) -> None:
    """No profile, no bandwidth and no gain moves it; without the cloud the edge still serves."""

    async def main() -> None:
        with bench() as tiny:
            async with going(tiny, fixed=cut) as loop:
                assert (loop.cut, loop.mode) == ("edge-only", Mode.PINNED)
                loop.up()
                await until(lambda: loop.cut == cut)
                assert loop.mode is Mode.PINNED
                loop.measured(CRAWLING)
                await loop.looked()
                assert loop.cut == cut
                loop.down()
                assert (loop.cut, loop.mode) == ("edge-only", Mode.PINNED)
                loop.up()
                await until(lambda: loop.cut == cut)

    run(main())


def test_fixed_to_the_edge_the_cloud_is_not_asked() -> None:
    """Edge-only by the operator's word is edge-only, whoever connects."""

    async def main() -> None:
        with bench() as tiny:
            async with going(tiny, fixed="edge-only") as loop:
                loop.up()
                await loop.looked()
                assert loop.controller.active.plan.cut == Cut.edge_only(GRAPH)
                assert loop.uplink.asked == []

    run(main())


def test_a_flapping_link_is_not_used_at_each_flap(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the second fall within a minute the edge goes on alone for a while, though the line is back."""
    now = 1000.0
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now, perf_counter=lambda: now))

    async def main() -> None:
        nonlocal now
        with bench() as tiny:
            async with planning(tiny) as loop:
                for wait_s in (0.0, 5.0, 10.0):
                    assert loop.cut == "cloud-only"
                    loop.down()
                    loop.up()
                    loop.measured(FAST)
                    if wait_s:
                        now += wait_s - 0.1
                        await loop.looked()
                        assert loop.cut == "edge-only"
                    now += 0.2
                    await loop.looked()
                now += 120.0
                loop.down()
                loop.up()
                loop.measured(FAST)
                await loop.looked()
                assert loop.cut == "cloud-only", "what is long past is forgiven"

    run(main())


def test_the_interval_wakes_the_loop_from_the_loop() -> None:
    """An event set from another thread may wake nobody; no thread is left to end, either."""

    class Woken(asyncio.Event):
        threads: ClassVar[set[int]] = set()

        def set(self) -> None:
            self.threads.add(threading.get_ident())
            super().set()

    async def main() -> None:
        with bench() as tiny:
            loop = Loop(tiny, 1.0, None, 0.02)
            await loop.controller.start()
            loop.controller._wake = woken = Woken()
            task = asyncio.create_task(loop.controller.run())
            await until(lambda: bool(woken.threads))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert woken.threads == {threading.get_ident()}

    run(main())


def test_it_looks_at_each_interval() -> None:
    """Without any event, the schedule alone makes it look."""

    async def main() -> None:
        with bench() as tiny:
            async with going(tiny, interval_s=0.05) as loop:
                await until(lambda: loop.looks >= 4)

    run(main())


def test_a_clock_that_is_set_back_stops_no_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scheduler goes by the time of day, and may be silent for hours then: the loop goes on by its own clock."""
    monkeypatch.setattr(AsyncIOScheduler, "start", lambda self: None)
    monkeypatch.setattr(AsyncIOScheduler, "shutdown", lambda self, wait: None)

    async def main() -> None:
        with bench() as tiny:
            async with going(tiny, interval_s=0.05) as loop:
                await until(lambda: loop.looks >= 4)

    run(main())
