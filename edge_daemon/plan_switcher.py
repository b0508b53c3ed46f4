"""The plan in force, and how another one takes its place: both sides prepared, then between two frames."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import structlog

from common.errors import CleaveError
from common.graph import ModelGraph
from common.plan import Cause, Cut, Mode, Plan, stages_of
from edge_daemon.active_plan import ActivePlan, EdgeParts, prepare_parts, prepare_request
from edge_daemon.plan_log import tell_plan
from edge_daemon.refused_stages import RefusedStages
from edge_daemon.standby import Standby
from edge_daemon.switch_log import SwitchLog
from edge_daemon.uplink import Uplink
from models.compute import ComputeThread
from models.stages import Stages

log = structlog.get_logger()


class PlanSwitcher:
    """Owns the plan in force. Everything happens on the event loop; `active` changes between two frames."""

    def __init__(
        self,
        graph: ModelGraph,
        stages: Stages,
        compute: ComputeThread,
        uplink: Uplink,
        standby: Standby,
        epochs: Iterator[int],
        refused: RefusedStages,
        changed: Callable[[], None],
    ) -> None:
        self._graph = graph
        self._stages = stages
        self._compute = compute
        self._uplink = uplink
        self._standby = standby
        self._epochs = epochs
        self._refused = refused
        self._changed = changed
        self._edge_only: EdgeParts | None = None
        self._active: ActivePlan | None = None
        self.whole = Cut.edge_only(graph)
        """The cut that needs no cloud."""
        self.switches = SwitchLog()

    @property
    def active(self) -> ActivePlan:
        """The plan frames run under. There is one from `start()` on."""
        assert self._active is not None
        return self._active

    @property
    def started(self) -> bool:
        """Whether frames can be answered: an inference has run, and there is a plan."""
        return self._active is not None

    async def start(self, mode: Mode, reason: str) -> None:
        """Prepare the edge-only plan, so that frames can run whatever else happens."""
        self._edge_only = await prepare_parts(self.whole, self._graph, self._stages, self._compute)
        self.run_edge_only(mode, reason, Cause.START)

    def renew(self, plan: Plan) -> None:
        """Go on with the same cut, of which more is known now: no other epoch, nothing to prepare."""
        self._active = ActivePlan(replace(plan, epoch=self.active.plan.epoch), self.active.parts)

    def run_edge_only(self, mode: Mode, reason: str, cause: Cause) -> None:
        """Go on without the cloud at once."""
        stages = stages_of(self.whole, self._graph.sink)
        self._run_alone(Plan(epoch=0, mode=mode, cut=self.whole, stages=stages, reason=reason, cause=cause))

    async def use(self, cut: Cut, mode: Mode, reason: str, cause: Cause) -> None:
        """Run `cut`, without a decision."""
        if self.active.plan.cut != cut:
            stages = stages_of(cut, self._graph.sink)
            await self.switch(Plan(epoch=0, mode=mode, cut=cut, stages=stages, reason=reason, cause=cause))

    async def switch(self, plan: Plan) -> None:
        """Prepare both sides, then let the next frame use the plan. Frames in flight finish under their own.

        Where only the codecs differ there is nothing to prepare. When the edge alone takes over meanwhile, it stays:
        what was decided on is known no more. What cannot be prepared is noted, for another plan to be decided on.
        Raises `LinkError` when the line goes meanwhile.
        """
        cut, before = plan.cut, self.active
        if not cut.cloud_units:
            self._run_alone(plan)
            return
        if plan.stages == before.plan.stages and self._uplink.available:
            self._adopt(ActivePlan(replace(plan, epoch=before.plan.epoch), before.parts))
            return
        if (ready := self._standby.take(cut)) is not None and self._uplink.available:
            self._adopt(ActivePlan(replace(plan, epoch=ready.epoch), ready.parts))
            return
        session = self._uplink.cloud
        try:
            parts = await prepare_parts(cut, self._graph, self._stages, self._compute)
        except (CleaveError, RuntimeError, MemoryError) as error:  # of the executor, or of the machine
            reason = str(error) or type(error).__name__
            log.error("a plan cannot be prepared here", cut=cut.label, reason=reason)
            self._refused.note(cut, session, time.monotonic())
            return
        if self._active is not before:
            return
        plan = replace(plan, epoch=next(self._epochs))
        session = self._uplink.cloud
        prepared = await self._uplink.prepare(prepare_request(plan.epoch, plan.stages[1], self._graph))
        if not prepared.ready:
            log.error("the cloud cannot prepare a plan", cut=cut.label, reason=prepared.reason)
            self._refused.note(cut, session, time.monotonic())
        elif self._active is before and self._uplink.available and self._uplink.cloud is session:
            self._adopt(ActivePlan(plan, parts))  # another session has not prepared it

    def _run_alone(self, plan: Plan) -> None:
        assert self._edge_only is not None
        self._adopt(ActivePlan(replace(plan, epoch=next(self._epochs)), self._edge_only))

    def _adopt(self, active: ActivePlan) -> None:
        before = self._active
        self._active = active
        self._standby.used(active.plan.epoch)
        cut_before = before.plan.cut if before else None
        self.switches.note(active.plan, cut_before)
        tell_plan(active.plan, cut_before)
        self._changed()
