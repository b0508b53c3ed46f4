"""Facts about the dynamic loop: what it decides by, when it switches, and that frames never wait for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence

import pytest

from common.errors import ModelError
from common.plan import Cut, Mode
from edge_daemon import refused_stages
from edge_daemon.drift import FEWEST
from edge_daemon.link_estimate import BandwidthSample
from tests.edge_daemon.bench import bench
from tests.edge_daemon.controller_loop import (
    CLOUD,
    CRAWLING,
    EDGE,
    FAST,
    FRAME_BYTES,
    GRAPH,
    SLOW,
    going,
    planning,
)
from tests.event_loop import run, until


def test_the_edge_serves_alone_from_the_start() -> None:
    """Frames can run before anything is known of the cloud."""

    async def main() -> None:
        with bench() as tiny:
            async with going(tiny) as loop:
                assert (loop.cut, loop.mode) == ("edge-only", Mode.STARTING)
                assert loop.controller.active.parts.head is not None
                assert not loop.controller.active.uses_cloud
                assert loop.controller.switches.count == 0

    run(main())


def test_the_cloud_computes_while_profiles_are_measured() -> None:
    """Until both profiles are there, the cloud does everything if it is there; its stage is prepared first."""

    async def main() -> None:
        with bench() as tiny:
            async with going(tiny) as loop:
                loop.controller.set_profiles(EDGE, None)
                assert not loop.controller.has_profiles
                loop.up()
                await until(lambda: loop.cut == "cloud-only")
                assert loop.mode is Mode.STARTING
                (request,) = loop.uplink.asked
                assert request.epoch == loop.controller.active.plan.epoch
                assert [GRAPH.names[i] for i in request.units] == list(GRAPH.names[1:])
                assert [GRAPH.names[i] for i in request.inputs] == ["frame"]
                assert request.outputs == ((GRAPH.index["answer"], "answer"),)

    run(main())


@pytest.mark.parametrize(
    ("bps", "cut"), [(FAST, "cloud-only"), (SLOW, "after resize"), (CRAWLING, "edge-only")]
)
def test_the_bandwidth_decides_the_cut(bps: float, cut: str) -> None:
    """The frame itself over a fast link, a small image over a slow one, nothing over one that crawls."""

    async def main() -> None:
        with bench() as tiny:
            async with planning(tiny, bps) as loop:
                assert loop.cut == cut
                plan = loop.controller.active.plan
                assert plan.mode is Mode.LIGHT
                assert plan.bandwidth_bps == bps
                assert plan.prediction is not None
                assert plan.lower_bound_ms == plan.prediction.latency_ms

    run(main())


def test_the_cut_follows_the_bandwidth_and_returns() -> None:
    """Each change of the link moves the cut, under a new epoch, prepared on both sides before it is used."""

    async def main() -> None:
        with bench() as tiny:
            async with planning(tiny) as loop:
                for bps, cut in ((SLOW, "after resize"), (CRAWLING, "edge-only"), (FAST, "cloud-only")):
                    loop.measured(bps)
                    await loop.looked()
                    assert loop.cut == cut
                    parts = loop.controller.active.parts
                    assert (parts.rest is not None) == (cut != "edge-only")
                assert len(loop.epochs) == 5
                assert [request.epoch for request in loop.uplink.asked] == [
                    loop.epochs[1],
                    loop.epochs[2],
                    loop.epochs[4],
                ]
                assert loop.controller.switches.count == 4

    run(main())


def test_a_device_slower_than_profiled_moves_the_cut() -> None:
    """Measured stages of real frames correct the profile, and the reason says so."""

    async def main() -> None:
        with bench() as tiny:
            # All in the cloud takes 10 ms as profiled, and a second when it is 100 × slower; the edge 610.
            async with planning(tiny, FAST) as loop:
                assert loop.cut == "cloud-only"
                plan = loop.controller.active.plan
                for _ in range(20):
                    loop.controller.saw_stages(plan, None, 100 * (CLOUD.total_ms - 1.0))  # without the frame
                await loop.looked()
                assert loop.cut == "edge-only"
                assert "the cloud is 100.0 × as slow as profiled" in loop.controller.active.plan.reason
                assert loop.controller.scales.cloud == pytest.approx(100.0)
                loop.controller.set_profiles(None, CLOUD)
                await loop.looked()
                assert loop.cut == "cloud-only", "a new profile counts as it is"

    run(main())


def test_an_edge_faster_than_profiled_is_used_though_no_frame_shows_it() -> None:
    """A plan that leaves the edge nothing says nothing of the edge: what is run apart from frames does."""

    async def main() -> None:
        with bench() as tiny:
            # 50 kB/s carry the frame in 2 s, and the small image sooner; the edge alone takes 610 ms as profiled.
            async with planning(tiny, SLOW) as loop:
                assert loop.cut == "after resize"
                assert loop.controller.edge_unseen
                for _ in range(FEWEST):
                    loop.controller.saw_sample(0.01, 0.01)
                await loop.looked()
                assert loop.cut == "edge-only"
                assert "the edge is 100.0 × as fast as profiled" in loop.controller.active.plan.reason

    run(main())


def test_a_busy_cloud_moves_the_cut() -> None:
    """Frames that wait for other edges' make the edge compute more; the reason says so."""

    async def main() -> None:
        with bench() as tiny:
            # All in the cloud takes 10 ms and a link of 1 ms; the edge alone 610.
            async with planning(tiny, FAST) as loop:
                assert loop.cut == "cloud-only"
                loop.waited(400.0)
                await loop.looked()
                assert loop.cut == "cloud-only", "still the best"
                assert "(the cloud is busy: 400 ms wait)" in loop.controller.active.plan.reason
                loop.waited(900.0)
                await loop.looked()
                assert loop.cut == "edge-only"
                assert "(the cloud is busy: 900 ms wait)" in loop.controller.active.plan.reason

    run(main())


def test_an_edge_that_left_a_busy_cloud_does_not_flap() -> None:
    """Without it the cloud is free, which is not believed at once; later it is used again."""

    async def main() -> None:
        with bench() as tiny:
            async with planning(tiny, FAST) as loop:
                loop.waited(900.0)
                await loop.looked()
                assert loop.cut == "edge-only"
                loop.waited(0.0, answered=False)
                await loop.looked()
                assert loop.cut == "edge-only"
                loop.load._away._until = 0.0  # the while is over
                loop.waited(900.0, answered=False)
                await loop.looked()
                assert loop.cut == "edge-only", "the pongs tell that it is still as busy"
                loop.waited(0.0, answered=False)
                await loop.looked()
                assert loop.cut == "cloud-only"

    run(main())


def test_a_link_that_goes_means_edge_only_at_once() -> None:
    """Before the call returns the next frame runs on the edge; what was measured of the link is forgotten."""

    async def main() -> None:
        with bench() as tiny:
            async with planning(tiny) as loop:
                before = loop.controller.active.plan.epoch
                loop.down()
                assert (loop.cut, loop.mode) == ("edge-only", Mode.LIGHT)
                assert loop.controller.active.plan.epoch > before
                assert "a test says so" in loop.controller.active.plan.reason
                assert loop.estimate.bandwidth_bps is None
                await loop.looked()
                assert loop.cut == "edge-only"
                loop.up()
                await loop.looked()
                assert loop.cut == "edge-only", "nothing is known of the link yet"
                loop.measured(FAST)
                await loop.looked()
                assert loop.cut == "cloud-only"

    run(main())


def test_small_changes_keep_the_cut() -> None:
    """A gain below five per cent is noise: same cut, same epoch, and what is predicted is brought up to date.

    But what is no better than the edge alone is left for it at once.
    """

    async def main() -> None:
        with bench() as tiny:
            # After resize: 10 + 6.1 + 7 ms at 1 Mbit/s. Below, keeping it costs ever more against edge-only.
            async with planning(tiny, SLOW) as loop:
                epoch = loop.controller.active.plan.epoch
                even = 768 * 8 / (610 - 17)  # kbit/s at which both ends take as long
                for share in (1.03, 1.01, 1.03):
                    loop.measured(even * share * 1e3)
                    await loop.looked()
                    plan = loop.controller.active.plan
                    assert (plan.cut.label, plan.epoch) == ("after resize", epoch)
                    assert plan.bandwidth_bps == even * share * 1e3
                loop.measured(even * 0.97e3)
                await loop.looked()
                assert loop.cut == "edge-only"
                for share in (1.02, 1.04):
                    loop.measured(even * share * 1e3)
                    await loop.looked()
                    assert loop.cut == "edge-only", "it does not return for less"
                    assert "kept" in loop.controller.active.plan.reason
                assert loop.controller.switches.count == 2

    run(main())


def test_what_the_cloud_refuses_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan in force was for another link: the best of what is ready takes its place. Later it is tried again."""

    async def main() -> None:
        with bench() as tiny:
            async with planning(tiny) as loop:
                assert loop.cut == "cloud-only"
                loop.uplink.refuses = "no room"
                loop.measured(SLOW)
                loop.controller.link_up()
                await until(lambda: loop.cut == "edge-only")
                await loop.looked()
                asked = [request.units for request in loop.uplink.asked[1:]]
                assert 1 <= len(set(asked)) == len(asked) <= refused_stages.MOST, "none is asked for twice"
                loop.uplink.refuses = None
                await loop.looked()
                assert (loop.cut, len(loop.uplink.asked)) == ("edge-only", 1 + len(asked))
                monkeypatch.setattr(refused_stages, "AGAIN_S", 0.0)
                await loop.looked()
                assert loop.cut == "after resize"

    run(main())


def test_a_cloud_that_goes_whenever_it_prepares_is_asked_ever_more_rarely() -> None:
    """Its machine may kill it for want of memory each time, under all its other edges, too."""

    async def main() -> None:
        with bench() as tiny:
            async with planning(tiny, CRAWLING) as loop:
                assert (loop.cut, loop.uplink.asked) == ("edge-only", [])
                loop.uplink.breaks = True
                for asked in (1, 2, 2, 2):
                    loop.down()
                    loop.measured(FAST)
                    loop.up()
                    await loop.looked()
                    assert len(loop.uplink.asked) == asked
                assert loop.cut == "edge-only"

    run(main())


def test_what_the_cloud_refuses_is_measured_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is once for a pair of profiles, and a cloud that is full has room again some day."""

    async def main() -> None:
        with bench() as tiny:
            async with planning(tiny) as loop:
                wished: list[str] = []

                def wish(level: object, cuts: Callable[[], Sequence[Cut]]) -> None:
                    wished.extend(cut.label for cut in cuts())

                monkeypatch.setattr(loop.segments, "wish", wish)
                loop.uplink.refuses = "no room"
                loop.measured(SLOW)
                loop.controller.link_up()
                await until(lambda: loop.cut == "edge-only")
                wished.clear()
                await loop.looked()
                assert "after resize" in wished

    run(main())


@pytest.mark.parametrize(
    "error", [ModelError("no such operator"), RuntimeError("no memory"), MemoryError()], ids=repr
)
def test_what_cannot_be_prepared_here_is_done_without(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """An executor that refuses a cut, or has no memory for it, does not end the loop."""

    def fail(*_: object) -> None:
        raise error

    async def main() -> None:
        with bench() as tiny:
            async with planning(tiny) as loop:
                with monkeypatch.context() as patched:
                    patched.setattr(tiny.stages, "_made", fail)
                    loop.measured(SLOW)
                    loop.controller.link_up()
                    await until(lambda: loop.cut == "edge-only")
                monkeypatch.setattr(refused_stages, "AGAIN_S", 0.0)
                await loop.looked()
                assert loop.cut == "after resize", "it is tried again"

    run(main())


@pytest.mark.parametrize("is_back_at_once", [False, True])
def test_a_line_that_goes_while_a_plan_is_prepared_ends_that_plan_only(is_back_at_once: bool) -> None:
    """The link's fall comes first: edge-only is in force, and stays though the cloud has made the plan ready then."""

    async def main() -> None:
        with bench() as tiny:
            async with planning(tiny) as loop:
                loop.uplink.gate.clear()
                loop.measured(SLOW)
                loop.controller.link_up()
                await until(lambda: len(loop.uplink.asked) == 2)
                assert loop.cut == "cloud-only", "frames do not wait for the new plan"
                loop.uplink.breaks = not is_back_at_once
                loop.down()
                if is_back_at_once:
                    loop.up()
                loop.uplink.gate.set()
                for _ in range(2):  # the look that was under way, and another
                    await loop.looked()
                assert loop.cut == "edge-only"
                loop.uplink.breaks = False
                loop.measured(SLOW)
                loop.up()
                await until(lambda: loop.cut == "after resize")

    run(main())


def test_the_edge_alone_stays_though_the_link_came_back_while_a_plan_was_compiled() -> None:
    """What that plan was decided on is forgotten with the link: it is decided anew, once the bandwidth is known."""

    async def main() -> None:
        with bench() as tiny:
            async with planning(tiny) as loop:
                gate = threading.Event()
                blocked = asyncio.ensure_future(loop.compute.run(gate.wait, 20.0))
                # Parts of a cut that was not prepared before: it must wait for the blocked thread.
                loop.measured(SLOW)
                loop.controller.link_up()
                await until(lambda: loop.compute.waiting > 0)
                loop.down()
                assert loop.cut == "edge-only"
                loop.up()
                gate.set()
                await blocked
                for _ in range(2):  # the look that was under way, and another
                    await loop.looked()
                assert loop.cut == "edge-only"
                assert len(loop.uplink.asked) == 1, "the cloud was not asked for it"
                loop.measured(SLOW)
                await loop.looked()
                assert loop.cut == "after resize"
                assert loop.controller.active.plan.epoch == max(loop.epochs)

    run(main())


def test_a_bandwidth_far_from_the_planned_one_is_looked_at_before_the_interval_ends() -> None:
    """Three samples of a link that has become slow move the cut at once; small changes wait for their turn."""

    async def main() -> None:
        with bench() as tiny:
            async with planning(tiny, FAST) as loop:
                assert loop.cut == "cloud-only"
                looks = loop.looks
                for at in range(1, 6):
                    loop.controller.saw_bandwidth(BandwidthSample(0.9 * FAST, float(at), "traffic"))
                assert not loop.controller._wake.is_set()
                assert loop.looks == looks
                for at in range(6, 9):
                    loop.controller.saw_bandwidth(BandwidthSample(SLOW, float(at), "traffic"))
                await until(lambda: loop.cut == "after resize")

    run(main())


@pytest.mark.parametrize(("bps", "looks"), [(CRAWLING, 1), (FAST, 0)])
def test_the_first_frame_after_a_pause_has_the_link_looked_at(bps: float, looks: int) -> None:
    """Where the edge computes alone. Frames on the link tell of it themselves, and a probe would hold them up."""

    async def main() -> None:
        with bench() as tiny:
            async with planning(tiny, bps) as loop:
                assert loop.controller.active.uses_cloud == (bps == FAST)
                before = loop.looks
                loop.prober.resumed = True
                loop.controller.saw_frame(FRAME_BYTES)
                assert loop.controller._wake.is_set() == bool(looks)
                await until(lambda: not loop.controller._wake.is_set())
                assert loop.looks <= before + looks

    run(main())
