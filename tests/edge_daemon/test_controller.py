"""Facts about the dynamic loop: what it decides by, when it switches, and that frames never wait for it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import ClassVar, cast

import pytest

from common.errors import LinkLostError, ModelError
from common.plan import Cut, Mode
from common.profile import Profile, ProfileKey
from common.wire.messages import Prepare, Prepared
from edge_daemon import controller as module
from edge_daemon.controller import Controller, hold_off_s
from edge_daemon.fixed_plan import FixedPlan
from edge_daemon.link_estimate import BandwidthSample, LinkEstimate
from edge_daemon.prober import Prober
from edge_daemon.uplink import Uplink
from tests.edge_daemon.bench import Bench, bench
from tests.event_loop import run, until
from tests.tiny_model import tiny_model

GRAPH = tiny_model().graph
KEY = ProfileKey(tiny_model().fingerprint, "a device", "torch", 1, 1.0, "40x30")
EDGE_MS = dict.fromkeys(GRAPH.names, 0.0) | {"decode": 5.0, "resize": 5.0, "normalize": 600.0}
EDGE = Profile(KEY, EDGE_MS)
CLOUD = Profile(KEY, dict.fromkeys(GRAPH.names, 1.0))
"""With frames of 100 kB: the frame goes up when the link is fast, a small image when it is slow, nothing below."""
FAST, SLOW, CRAWLING = 1e9, 1e6, 1e3
FRAME_BYTES = 100_000


class FakeUplink:
    def __init__(self) -> None:
        self.available = False
        self.refuses: str | None = None
        self.breaks = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked: list[Prepare] = []

    async def prepare(self, request: Prepare) -> Prepared:
        self.asked.append(request)
        await self.gate.wait()
        if self.breaks:
            raise LinkLostError("gone while preparing")
        ready = self.refuses is None
        return Prepared(epoch=request.epoch, ready=ready, reason=self.refuses or "", prepare_ms=1.0)


class FakeProber:
    def __init__(self) -> None:
        self.saw = 0

    def saw_traffic(self) -> None:
        self.saw += 1

    async def measure_if_needed(self, uses_cloud: bool) -> None: ...


class Loop:
    """A controller at work, its surroundings, and every plan that it put in force."""

    def __init__(self, tiny: Bench, rate_fps: float | None, fixed: str | None, interval_s: float) -> None:
        self.uplink = FakeUplink()
        self.estimate = LinkEstimate()
        self.prober = FakeProber()
        self.epochs: list[int] = []
        self.looks = 0
        self.compute = tiny.compute
        self.controller = Controller(
            fixed=FixedPlan(fixed, GRAPH) if fixed else None,
            model=tiny.model,
            stages=tiny.stages,
            compute=tiny.compute,
            uplink=cast(Uplink, self.uplink),
            estimate=self.estimate,
            prober=cast(Prober, self.prober),
            rate_fps=rate_fps,
            interval_s=interval_s,
            changed=self._changed,
        )

    def _changed(self) -> None:
        self.looks += 1
        epoch = self.controller.active.plan.epoch
        if not self.epochs or self.epochs[-1] != epoch:
            self.epochs.append(epoch)

    @property
    def cut(self) -> str:
        return self.controller.active.plan.cut.label

    @property
    def mode(self) -> Mode:
        return self.controller.active.plan.mode

    def measured(self, bps: float) -> None:
        self.estimate.add(BandwidthSample(bps, 0.0, "iperf3"))

    def up(self) -> None:
        self.uplink.available = True
        self.controller.link_up()

    def down(self) -> None:
        self.uplink.available = False
        self.controller.link_down("a test says so")

    async def looked(self) -> None:
        """Have the controller look once more, and wait until it has."""
        before = self.looks
        self.controller.link_up()
        await until(lambda: self.looks > before)


@contextlib.asynccontextmanager
async def going(
    tiny: Bench, *, rate_fps: float | None = 1.0, fixed: str | None = None, interval_s: float = 600.0
) -> AsyncIterator[Loop]:
    loop = Loop(tiny, rate_fps, fixed, interval_s)
    await loop.controller.start()
    task = asyncio.create_task(loop.controller.run())
    try:
        yield loop
        assert not task.done(), "the loop goes on, whatever happened"
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert loop.epochs == sorted(set(loop.epochs)), "epochs increase from plan to plan"


@contextlib.asynccontextmanager
async def planning(tiny: Bench, bps: float = FAST, rate_fps: float | None = 1.0) -> AsyncIterator[Loop]:
    """A controller with profiles, a connected cloud and a known bandwidth."""
    async with going(tiny, rate_fps=rate_fps) as loop:
        for _ in range(20):
            loop.controller.saw_frame(FRAME_BYTES)
        loop.controller.set_profiles(EDGE, CLOUD)
        loop.measured(bps)
        loop.up()
        await loop.looked()
        yield loop


def test_the_edge_serves_alone_from_the_start() -> None:
    """Frames can run before anything is known of the cloud."""

    async def main() -> None:
        with bench() as tiny:
            async with going(tiny) as loop:
                assert (loop.cut, loop.mode) == ("edge-only", Mode.STARTING)
                assert loop.controller.active.parts.head is not None
                assert not loop.controller.active.uses_cloud
                assert loop.controller.switches == 0

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
                assert loop.controller.switches == 4

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
    """A gain below five per cent is noise: same cut, same epoch, and what is predicted is brought up to date."""

    async def main() -> None:
        with bench() as tiny:
            # After resize: 10 + 6.1 + 7 ms at 1 Mbit/s. Below, keeping it costs ever more against edge-only.
            async with planning(tiny, SLOW) as loop:
                epoch = loop.controller.active.plan.epoch
                even = 768 * 8 / (610 - 17)  # kbit/s at which both ends take as long
                for share in (0.99, 1.01, 0.97):
                    loop.measured(even * share * 1e3)
                    await loop.looked()
                    plan = loop.controller.active.plan
                    assert (plan.cut.label, plan.epoch) == ("after resize", epoch)
                    assert plan.bandwidth_bps == even * share * 1e3
                assert "kept" in loop.controller.active.plan.reason
                loop.measured(even * 0.9e3)
                await loop.looked()
                assert loop.cut == "edge-only"
                loop.measured(even * 1.02e3)
                await loop.looked()
                assert loop.cut == "edge-only", "nor does it return for less"
                assert loop.controller.switches == 2

    run(main())


def test_a_plan_that_the_cloud_refuses_leaves_the_old_one() -> None:
    """Frames go on under the plan in force; the next look tries again."""

    async def main() -> None:
        with bench() as tiny:
            async with planning(tiny) as loop:
                before = loop.controller.active
                loop.uplink.refuses = "no such unit"
                loop.measured(SLOW)
                await loop.looked()
                assert loop.controller.active.plan.epoch == before.plan.epoch
                assert loop.cut == "cloud-only"
                loop.uplink.refuses = None
                await loop.looked()
                assert loop.cut == "after resize"

    run(main())


def test_a_plan_that_cannot_be_prepared_here_leaves_the_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """An executor that refuses a cut, or has no memory for it, ends neither the loop nor the plan in force."""

    async def main() -> None:
        with bench() as tiny:
            async with planning(tiny) as loop:
                for error in (ModelError("no such operator"), RuntimeError("not enough memory")):

                    def fail(*_: object, error: Exception = error) -> None:
                        raise error

                    with monkeypatch.context() as patched:
                        patched.setattr(tiny.stages, "prepare", fail)
                        loop.measured(SLOW)
                        await loop.looked()
                        assert loop.cut == "cloud-only"
                await loop.looked()
                assert loop.cut == "after resize", "it is tried again"

    run(main())


def test_a_line_that_goes_while_a_plan_is_prepared_ends_that_plan_only() -> None:
    """The link's fall comes first: edge-only is in force, and the loop goes on."""

    async def main() -> None:
        with bench() as tiny:
            async with planning(tiny) as loop:
                loop.uplink.gate.clear()
                loop.measured(SLOW)
                loop.controller.link_up()
                await until(lambda: len(loop.uplink.asked) == 2)
                assert loop.cut == "cloud-only", "frames do not wait for the new plan"
                loop.uplink.breaks = True
                loop.down()
                loop.uplink.gate.set()
                await loop.looked()
                assert loop.cut == "edge-only"
                loop.uplink.breaks = False
                loop.measured(SLOW)
                loop.up()
                await until(lambda: loop.cut == "after resize")

    run(main())


def test_epochs_increase_though_the_link_went_and_came_while_compiling() -> None:
    """A plan whose parts took long is still the newest when it comes into force, or does not."""

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
                loop.uplink.available = True
                gate.set()
                await blocked
                await until(lambda: loop.cut == "after resize")
                assert loop.controller.active.plan.epoch == max(loop.epochs)

    run(main())


def test_a_cloud_that_let_frames_down_waits_for_the_profiles() -> None:
    """While nothing is known but that, the edge alone is the safe way; with profiles the planner decides again."""

    async def main() -> None:
        with bench() as tiny:
            async with going(tiny) as loop:
                loop.up()
                await until(lambda: loop.cut == "cloud-only")
                loop.down()
                assert (loop.cut, loop.mode) == ("edge-only", Mode.STARTING)
                loop.up()
                await loop.looked()
                assert loop.cut == "edge-only"
                loop.measured(FAST)
                loop.controller.set_profiles(EDGE, CLOUD)
                await until(lambda: loop.cut == "cloud-only")
                assert loop.mode is Mode.LIGHT

    run(main())


def test_overload_is_told_with_the_rate_that_can_be_sustained(capsys: pytest.CaptureFixture[str]) -> None:
    """When no cut keeps the sampling rate, the least bottleneck is used, and the beginning is told once."""

    async def main() -> None:
        with bench() as tiny:
            async with planning(tiny, CRAWLING, rate_fps=30.0) as loop:
                plan = loop.controller.active.plan
                assert (plan.cut.label, plan.mode) == ("edge-only", Mode.OVERLOADED)
                assert plan.sustainable_fps == pytest.approx(1000 / sum(EDGE_MS.values()))
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
                assert plan.sustainable_fps == pytest.approx(1000 / sum(EDGE_MS.values()))

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


def test_a_cloud_that_lets_frames_down_again_and_again_is_left_alone_for_longer() -> None:
    """Once is an outage and costs no wait; then it doubles, up to a minute."""
    waits = [hold_off_s(times) for times in range(8)]
    assert waits == [0.0, 0.0, 5.0, 10.0, 20.0, 40.0, 60.0, 60.0]
    assert hold_off_s(10_000) == 60.0


def test_a_flapping_link_is_not_used_at_each_flap(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the second fall within a minute the edge goes on alone for a while, though the line is back."""
    now = 1000.0
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now))

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
