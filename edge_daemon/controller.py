"""The dynamic loop (DADS, algorithm 3): look at link and load, decide, prepare both sides, switch.

    scheduler ──► wake ──► probe if the traffic does not tell ──► decide() ──► prepare edge and cloud ──► active
    link up/down ─┘
                  link down ──► edge-only at once, waiting for nothing

A frame never waits for a decision: it runs under `active` as it finds it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import structlog
from apscheduler.executors.debug import DebugExecutor
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from common.errors import LinkError
from common.partition.cloud_wait import leaves_for_load, tell_wait
from common.partition.decide import Conditions, Decision, decide
from common.partition.frontier import Frontier
from common.plan import Cause, Cut, Mode, Plan, stages_of
from common.profile import Profile
from edge_daemon.active_plan import ActivePlan
from edge_daemon.alternatives import Alternative, alternatives
from edge_daemon.back_off import BackOff, Waits
from edge_daemon.candidates import candidates
from edge_daemon.certifier import Certifier
from edge_daemon.cloud_load import CloudLoad
from edge_daemon.cost_model import CostModel
from edge_daemon.fixed_plan import FixedPlan
from edge_daemon.length_check import LengthCheck, cuts_to_look_at
from edge_daemon.link_estimate import BandwidthSample, LinkEstimate
from edge_daemon.off_plan import OffPlan
from edge_daemon.patience import Progress
from edge_daemon.plan_log import tell_decision
from edge_daemon.plan_switcher import PlanSwitcher
from edge_daemon.prober import Prober
from edge_daemon.refused_stages import RefusedStages
from edge_daemon.scales import Scales
from edge_daemon.segment_measurer import SegmentMeasurer, affordable
from edge_daemon.standby import Standby, cut_to_stand_by
from edge_daemon.switch_log import SwitchLog
from edge_daemon.uplink import Uplink
from models.compute import ComputeThread
from models.model import Model
from models.stages import Stages

log = structlog.get_logger()

WITHOUT_CLOUD = Waits(first_s=5.0, longest_s=60.0, forgiven_s=60.0, free=1)
"""How long to do without a cloud that let frames down. Once may be an outage; again and again is a cloud or a link
that promises more than it holds."""


class Controller:
    """Decides which plan runs, from what others tell it. Everything happens on the event loop."""

    def __init__(
        self,
        *,
        fixed: FixedPlan | None,
        model: Model,
        stages: Stages,
        compute: ComputeThread,
        uplink: Uplink,
        estimate: LinkEstimate,
        load: CloudLoad,
        prober: Prober,
        certifier: Certifier,
        segments: SegmentMeasurer,
        lengths: LengthCheck,
        standby: Standby,
        epochs: Iterator[int],
        refused: RefusedStages,
        rate_fps: float | None,
        interval_s: float,
        changed: Callable[[], None],
    ) -> None:
        self._fixed = fixed
        self._model = model
        self._uplink = uplink
        self._estimate = estimate
        self._load = load
        self._prober = prober
        self._certifier = certifier
        self._segments = segments
        self._lengths = lengths
        self._standby = standby
        self._refused = refused
        self._rate_fps = rate_fps
        self._interval_s = interval_s
        self._changed = changed
        self._wake = asyncio.Event()
        self._off_plan = OffPlan(interval_s)
        self._cost_model = CostModel(model.graph, certifier.fidelity.losses)
        self._plans = PlanSwitcher(model.graph, stages, compute, uplink, standby, epochs, refused, changed)
        self._hold_off = BackOff(WITHOUT_CLOUD)
        self._starts_alone = False
        """The cloud was too slow to compute everything while profiles are measured."""
        self.alternatives: tuple[Alternative, ...] = ()
        """What the cuts would take by the last decision; none since the link went."""

    @property
    def active(self) -> ActivePlan:
        """The plan frames run under. There is one from `start()` on."""
        return self._plans.active

    @property
    def started(self) -> bool:
        """Whether frames can be answered: an inference has run, and there is a plan."""
        return self._plans.started

    @property
    def switches(self) -> SwitchLog:
        return self._plans.switches

    # --- what others tell the controller ----------------------------------------------------------------
    def link_up(self) -> None:
        self._wake.set()

    def link_down(self, reason: str) -> None:
        """Go on without the cloud at once: the edge-only parts are always prepared."""
        self._estimate.forget()
        self._load.forget()
        self._cost_model.forget_link()
        self._lengths.wish(())
        self.alternatives = ()
        if self.active.uses_cloud:
            self._hold_off.let_down(time.monotonic())
            self._plans.run_edge_only(self._mode_alone, f"the cloud is gone ({reason})", Cause.LINK_GONE)
        self._wake.set()

    def saw_frame(self, nbytes: int) -> None:
        """Take note of a frame's size in bytes."""
        self._cost_model.saw_frame(nbytes)
        resumed = self._prober.saw_traffic(time.perf_counter())
        if resumed and not self.active.uses_cloud:  # frames on the link tell of it themselves
            self._wake.set()

    def set_lengths(self, unit: str, codec: str, nbytes: Sequence[int]) -> None:
        """Plan with what a codec made of frames that were coded to see."""
        self._cost_model.set_lengths(unit, codec, nbytes)

    def saw_stages(self, plan: Plan, edge_ms: float | None, cloud_ms: float | None) -> None:
        """Take note of what the stages of a frame under `plan` took, codecs included; none where there was none."""
        self._cost_model.saw_stages(plan.cut, edge_ms, cloud_ms)

    def saw_sample(self, cold: float, warm: float) -> None:
        """Take note of how many times as long as profiled this device took for something that was no frame."""
        self._cost_model.saw_sample(cold, warm)

    def saw_answered(self, frame: memoryview) -> None:
        """Take note of a frame that has been answered."""
        if self._uplink.available and not self._hold_off.holds(time.monotonic()):
            self._lengths.saw_frame(frame)

    @property
    def cuts_to_measure(self) -> int | None:
        """Cuts whose segments are still to be measured as wholes; none while that is not known."""
        return self._segments.left

    def saw_segments(self, cut: Cut, head_share: float | None, tail_share: float | None) -> None:
        """Take note of what a cut's segments take as wholes, in shares of the whole network."""
        self._cost_model.saw_segments(cut, head_share, tail_share)

    def saw_cloud_whole(self, ms: float) -> None:
        """Take note of what the whole network took in the cloud, in turn with a segment."""
        self._cost_model.saw_cloud_whole(ms)

    def saw_whole(self, ms: float) -> None:
        """Take note of what this device's network took as a whole, after its profile was taken."""
        self._cost_model.saw_whole(ms)

    def saw_sent(self, unit: str, codec: str, nbytes: int) -> None:
        """Take note of what a codec made of a unit's tensor."""
        self._cost_model.saw_sent(unit, codec, nbytes)

    def saw_bandwidth(self, sample: BandwidthSample) -> None:
        """Take a measurement of the bandwidth in. One that is far from what was planned with is looked at soon."""
        self._estimate.add(sample)
        self._look_soon_if_far_off()

    def _look_soon_if_far_off(self) -> None:
        planned_bps, found_bps = self.active.plan.bandwidth_bps, self._estimate.bandwidth_bps
        if self._off_plan.found(planned_bps, found_bps, time.monotonic()):
            self._wake.set()

    def saw_slow(self, progress: Progress) -> None:
        """Take note of how far a late frame's bytes have come: they tell of a slow link long before the last one."""
        if progress.bps is not None:
            self._estimate.add_slow(BandwidthSample(progress.bps, time.perf_counter(), "traffic"))
            self._look_soon_if_far_off()

    def saw_late(self, plan: Plan, progress: Progress | None) -> None:
        """Take note that a frame under `plan` had no answer in time, and how far it had come by then.

        While nothing is known of the link yet, one such frame is enough: the next ones would wait as long.
        """
        if progress is not None:
            self.saw_slow(progress)
        if plan.mode is Mode.STARTING and self.active.uses_cloud and self.active.plan.epoch == plan.epoch:
            self._starts_alone = True
            reason = "the cloud is too slow to wait for while profiling"
            self._plans.run_edge_only(self._mode_alone, reason, Cause.PROFILING)

    def saw_transfer(self, plan: Plan, nbytes: int, link_ms: float) -> None:
        """Take note of how long the bytes of a frame under `plan` were on the link, with no other frame there."""
        bandwidth_bps = self._estimate.bandwidth_bps
        if bandwidth_bps:  # a link that stood still a moment ago has no rate to compare with
            carried_ms = link_ms - self._estimate.rtt_ms
            self._cost_model.saw_transfer(plan.cut, nbytes, carried_ms, nbytes * 8000.0 / bandwidth_bps)
        self._estimate.add_transfer(nbytes, link_ms, time.perf_counter())

    @property
    def pace_bps(self) -> float | None:
        """How fast a frame should be handed to the network now, in bit/s; none where it should not wait."""
        return self._estimate.pace_bps

    def look_again(self) -> None:
        """Decide anew: something that a decision depends on has changed."""
        self._wake.set()

    def set_profiles(self, edge: Profile | None, cloud: Profile | None) -> None:
        """Plan with these profiles from now on."""
        self._cost_model.set_profiles(edge, cloud)
        self._wake.set()

    @property
    def has_profiles(self) -> bool:
        return self._cost_model.complete

    @property
    def edge_unseen(self) -> bool:
        """Whether frames come, and tell nothing of this device's speed."""
        return self._cost_model.edge_unseen

    @property
    def scales(self) -> Scales:
        """How the devices are now, compared with their profiles."""
        return self._cost_model.scales

    # --- the loop ---------------------------------------------------------------------------------------
    async def start(self) -> None:
        """Prepare the edge-only plan, so that frames can run whatever else happens."""
        await self._plans.start(self._mode_alone, "the edge alone, until the cloud is there")

    @property
    def _mode_alone(self) -> Mode:
        """What to call a plan without the cloud that nobody has decided on."""
        if self._fixed is not None:
            return Mode.PINNED
        return Mode.LIGHT if self.has_profiles else Mode.STARTING

    async def run(self) -> None:
        """Decide each interval, and when something has happened, until cancelled."""
        # Jobs run where the scheduler does, on the event loop. Its default is a thread, from which waking the
        # loop is not safe, and whose last job, cut off by the end of the daemon, is logged as an error.
        scheduler = AsyncIOScheduler(executors={"default": DebugExecutor()})
        scheduler.add_job(
            self._wake.set, "interval", seconds=self._interval_s, max_instances=1, coalesce=True
        )
        scheduler.start()
        try:
            while True:
                # The scheduler goes by the time of day: set back, it would be silent for as long as that.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(2 * self._interval_s):
                        await self._wake.wait()
                self._wake.clear()
                try:
                    await self._replan()
                except LinkError as error:  # went while we planned: link_down() has seen to it
                    log.info("planning broken off", reason=str(error))
                self._changed()
        finally:
            scheduler.shutdown(wait=False)

    async def _replan(self) -> None:
        if self._fixed is not None:
            cut = self._fixed.cut()
            if self._uplink.available or not cut.cloud_units:
                await self._plans.use(cut, Mode.PINNED, "fixed by CLEAVE_EDGE_PLAN", Cause.FIXED)
        elif not self._uplink.available or self._hold_off.holds(time.monotonic()):
            await self._consider_rate_without_cloud()
        elif not self.has_profiles:
            # Nothing is known yet but that: the edge alone is the safe way.
            if self._hold_off.ever or self._starts_alone:
                return
            cut = Cut.cloud_only(self._model.graph)
            reason = "profiling; the cloud computes meanwhile"
            await self._plans.use(cut, Mode.STARTING, reason, Cause.PROFILING)
        else:
            await self._prober.measure_if_needed(self.active.uses_cloud)
            if self._estimate.bandwidth_bps is not None and self._uplink.available:
                await self._decide(self._estimate.bandwidth_bps)
            if self._prober.has_to_confirm(self.active.uses_cloud):
                self._wake.set()

    async def _decide(self, bandwidth_bps: float) -> None:
        fidelity = self._certifier.fidelity
        await self._cost_model.refresh()
        if not self._uplink.available:  # went meanwhile
            return
        conditions = self._conditions(bandwidth_bps)
        before, session = self.active.plan, self._uplink.cloud
        known = self._cost_model.frontier(fidelity.certified)
        frontier = self._refused.without(known, before.cut, session, time.monotonic())
        self.alternatives = alternatives(frontier, conditions)
        planned = before.mode not in (Mode.STARTING, Mode.PINNED)
        allowed = fidelity.may_use(before.cut)
        current = (before.cut, self._cost_model.costs(before.cut)) if planned and allowed else None
        decision = tell_wait(frontier, conditions, decide(frontier, conditions, current), before.cut)
        if before.cut.cloud_units and leaves_for_load(frontier, conditions, decision):
            self._load.left(conditions.cloud_wait_ms, time.monotonic())
        if planned and not allowed:
            reason = f"{before.cut.label} agrees too rarely with the whole model: {decision.reason}"
            decision = replace(decision, reason=reason, cause=Cause.DISAGREEMENT)
        if scales := str(self.scales):
            decision = replace(decision, reason=f"{decision.reason} ({scales})")
        if decision.switched and decision.cut != before.cut:
            try:
                await self._plans.switch(self._plan(decision, bandwidth_bps))
            except LinkError:
                # It may be for this that the cloud went. Where frames were let down it counts already.
                if not before.cut.cloud_units:
                    self._hold_off.let_down(time.monotonic())
                raise
            refused = self._refused.holds(decision.cut, session, time.monotonic())
            if refused and self.active.plan.cut == before.cut:
                self._wake.set()  # without it another one is the best, or what is in force is predicted anew
                return
        else:
            self._plans.renew(self._plan(decision, bandwidth_bps))
        tell_decision(before, decision, bandwidth_bps, self._rate_fps)
        self._wish(conditions, decision)
        self._segments.wish(self._cost_model.level, lambda: self._candidates(known, conditions))
        present, wished = self.active.plan.cut, self._standby.wished
        self._standby.wish(cut_to_stand_by(frontier, conditions, present, wished))
        self._lengths.wish(cuts_to_look_at(frontier, conditions, present, decision.mode))

    def _candidates(self, frontier: Frontier, conditions: Conditions) -> Sequence[Cut]:
        """Return the cuts whose segments are worth measuring, as many as this device can afford: also those that the
        cloud has no room for now, since they are measured once."""
        whole_ms = self._cost_model.costs(self._plans.whole).edge_ms
        return affordable(candidates(frontier, conditions), whole_ms)

    def _wish(self, conditions: Conditions, decision: Decision) -> None:
        """Have the lossy cut certified that would be better than what was decided."""
        fidelity = self._certifier.fidelity
        frontier = self._cost_model.lossy_frontier(fidelity.refused, fidelity.given_up)
        if frontier is None:
            return
        wished = decide(frontier, conditions, (decision.cut, self._cost_model.costs(decision.cut)))
        if wished.switched and fidelity.worth_trying(wished.cut):
            self._certifier.wish(wished.cut)

    def _conditions(self, bandwidth_bps: float) -> Conditions:
        scales = self.scales
        return Conditions(
            bandwidth_bps=bandwidth_bps,
            rtt_ms=self._estimate.rtt_ms,
            rate_fps=self._rate_fps,
            edge_scale=scales.edge,
            cloud_scale=scales.cloud,
            cloud_wait_ms=self._load.wait_ms(time.monotonic()),
        )

    async def _consider_rate_without_cloud(self) -> None:
        """Say what the edge alone can sustain, once that is known."""
        if not self.has_profiles:
            return
        await self._cost_model.refresh()
        if self.active.uses_cloud:  # the line is closing: link_down() is about to come, and to wake us again
            return
        before = self.active.plan
        decision = decide(self._cost_model.frontier(), self._conditions(0.0))
        self._plans.renew(replace(self._plan(decision, None), reason=before.reason))
        tell_decision(before, decision, 0.0, self._rate_fps)

    def _plan(self, decision: Decision, bandwidth_bps: float | None) -> Plan:
        """Make the plan of a decision, without its epoch yet."""
        return Plan(
            epoch=0,
            mode=decision.mode,
            cut=decision.cut,
            stages=stages_of(decision.cut, self._model.graph.sink),
            reason=decision.reason,
            cause=decision.cause,
            prediction=decision.prediction,
            lower_bound_ms=decision.lower_bound_ms,
            sustainable_fps=decision.sustainable_fps,
            bandwidth_bps=bandwidth_bps,
            edge_only_ms=self._cost_model.costs(self._plans.whole).edge_ms * self.scales.edge,
        )
