"""A controller at work in the test's own loop: its surroundings, and every plan that it put in force."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import AsyncIterator, Callable
from typing import cast

from common.errors import LinkLostError
from common.plan import Mode
from common.profile import Profile, ProfileKey
from common.wire.codecs import Loss
from common.wire.messages import Prepare, Prepared, Welcome
from edge_daemon.certifier import Certifier
from edge_daemon.cloud_load import RECENT, AnsweredWait, CloudLoad, ExpectedWait
from edge_daemon.controller import Controller
from edge_daemon.fidelity import Fidelity
from edge_daemon.fixed_plan import FixedPlan
from edge_daemon.length_check import LengthCheck
from edge_daemon.link_estimate import BandwidthSample, LinkEstimate
from edge_daemon.prober import Prober
from edge_daemon.refused_stages import RefusedStages
from edge_daemon.segment_measurer import SegmentMeasurer
from edge_daemon.standby import Standby
from edge_daemon.uplink import Uplink
from tests.edge_daemon.bench import Bench
from tests.event_loop import until
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
        self.cloud: Welcome | None = None
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
    """`measure` is called where there is something to be confirmed."""

    def __init__(self) -> None:
        self.saw = 0
        self.resumed = False
        self.measure: Callable[[], None] | None = None

    def saw_traffic(self, now: float) -> bool:
        self.saw += 1
        return self.resumed

    def has_to_confirm(self, uses_cloud: bool) -> bool:
        return not uses_cloud and self.measure is not None

    async def measure_if_needed(self, uses_cloud: bool) -> None:
        if self.measure is not None and not uses_cloud:
            measure, self.measure = self.measure, None
            measure()


class Loop:
    """A controller at work, its surroundings, and every plan that it put in force."""

    def __init__(
        self,
        tiny: Bench,
        rate_fps: float | None,
        fixed: str | None,
        interval_s: float,
        losses: frozenset[Loss] = frozenset(),
    ) -> None:
        self.uplink = FakeUplink()
        self.estimate = LinkEstimate()
        self.load = CloudLoad(rate_fps, random.Random(0))
        self.prober = FakeProber()
        self.epochs: list[int] = []
        self.looks = 0
        self.compute = tiny.compute
        self.certifier = Certifier(
            Fidelity(losses, 0.99), tiny.stages, tiny.compute, lambda: self.controller.look_again()
        )
        self.segments = SegmentMeasurer(
            tiny.stages,
            tiny.compute,
            cast(Uplink, self.uplink),
            lambda cut, head, tail: self.controller.saw_segments(cut, head, tail),
            lambda ms: self.controller.saw_whole(ms),
            lambda ms: self.controller.saw_cloud_whole(ms),
        )
        self.lengths = LengthCheck(
            tiny.stages,
            tiny.compute,
            lambda unit, codec, nbytes: self.controller.set_lengths(unit, codec, nbytes),
            lambda: self.controller.look_again(),
        )
        epochs = itertools.count(1)
        refused = RefusedStages()
        self.standby = Standby(GRAPH, tiny.stages, tiny.compute, cast(Uplink, self.uplink), epochs, refused)
        self.controller = Controller(
            fixed=FixedPlan(fixed, GRAPH) if fixed else None,
            model=tiny.model,
            stages=tiny.stages,
            compute=tiny.compute,
            uplink=cast(Uplink, self.uplink),
            estimate=self.estimate,
            load=self.load,
            prober=cast(Prober, self.prober),
            certifier=self.certifier,
            segments=self.segments,
            lengths=self.lengths,
            standby=self.standby,
            epochs=epochs,
            refused=refused,
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

    def waited(self, ms: float, *, answered: bool = True) -> None:
        """The cloud says in every way lately that frames wait for others'."""
        for _ in range(RECENT):
            now = time.monotonic()
            self.load.add(AnsweredWait(ms, now) if answered else ExpectedWait(ms, ms, now))

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
    tiny: Bench,
    *,
    rate_fps: float | None = 1.0,
    fixed: str | None = None,
    interval_s: float = 600.0,
    losses: frozenset[Loss] = frozenset(),
) -> AsyncIterator[Loop]:
    loop = Loop(tiny, rate_fps, fixed, interval_s, losses)
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
async def planning(
    tiny: Bench, bps: float = FAST, rate_fps: float | None = 1.0, edge: Profile = EDGE, cloud: Profile = CLOUD
) -> AsyncIterator[Loop]:
    """A controller with profiles, a connected cloud and a known bandwidth."""
    async with going(tiny, rate_fps=rate_fps) as loop:
        for _ in range(20):
            loop.controller.saw_frame(FRAME_BYTES)
        loop.controller.set_profiles(edge, cloud)
        loop.measured(bps)
        loop.up()
        await loop.looked()
        yield loop
