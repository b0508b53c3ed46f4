"""A plan that stands by: the cut for a link that is suddenly slower, or faster, ready on both sides beforehand.

Switching to it waits for nothing: for no segment to be compiled, and for no request that lies behind the frames
which a link that has become slow has yet to carry.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import structlog

from common.errors import CleaveError, LinkError
from common.graph import ModelGraph
from common.partition.decide import Conditions, decide
from common.partition.frontier import Frontier
from common.plan import Cut, Stage, stages_of
from common.wire.messages import Welcome
from edge_daemon.active_plan import EdgeParts, prepare_parts, prepare_request
from edge_daemon.refused_stages import RefusedStages
from edge_daemon.uplink import Uplink
from models.compute import ComputeThread, Patience
from models.stages import Stages

log = structlog.get_logger()

FACTORS = (1 / 4, 1 / 16, 4.0)
"""The bandwidths prepared for, in shares of the present one; slower ones first, since these make frames late."""


def cut_to_stand_by(
    frontier: Frontier, conditions: Conditions, present: Cut, stands_by: Cut | None = None
) -> Cut | None:
    """Return the first cut that would be chosen at another bandwidth and is not ready already.

    Ready is the edge alone, always (it takes the place of what hardly betters it), and what has the same stages as
    `present`; codecs need no preparing. What `stands_by` remains as long as it would be chosen at one of the slower
    bandwidths: preparing costs both sides.
    """
    cuts: dict[float, Cut] = {}
    for factor in FACTORS:
        there = replace(conditions, bandwidth_bps=conditions.bandwidth_bps * factor)
        cut = decide(frontier, there).cut
        if cut.cloud_units and cut.edge_units != present.edge_units:
            cuts[factor] = cut
    if stands_by is not None:
        for factor, cut in cuts.items():
            if factor < 1 and cut.edge_units == stands_by.edge_units:
                return cut
    return next(iter(cuts.values()), None)


@dataclass(frozen=True, slots=True)
class ReadyStages:
    """Stages that are compiled and warm: here in `parts`, and in the cloud under `epoch`, for one session."""

    epoch: int
    stages: Sequence[Stage]
    parts: EdgeParts
    session: Welcome


class Standby:
    """Keeps one plan ready, in the background: one, since each takes memory on both sides."""

    def __init__(
        self,
        graph: ModelGraph,
        stages: Stages,
        compute: ComputeThread,
        uplink: Uplink,
        epochs: Iterator[int],
        refused: RefusedStages,
    ) -> None:
        self._graph = graph
        self._stages = stages
        self._compute = compute
        self._uplink = uplink
        self._epochs = epochs
        self._wished: Cut | None = None
        self._work = asyncio.Event()
        self._ready: ReadyStages | None = None
        self._refused = refused
        self._used = 0
        self._epoch = 0
        """What is prepared next is so under this one, in place of what was before, until a plan is in force under it:
        the cloud keeps a few epochs, and the present plan's must stay among them."""

    @property
    def wished(self) -> Cut | None:
        """What is to stand by since the plan in force is; none yet, or nothing."""
        return self._wished

    def wish(self, cut: Cut | None) -> None:
        """Have the stages of `cut` ready from soon on, in place of any others; none of any where there is no cut."""
        self._wished = cut
        if cut is None:
            self._ready = None
        elif not self._stands_by(cut):
            self._work.set()

    def take(self, cut: Cut) -> ReadyStages | None:
        """Return the stages of `cut` to be used now, if they stand by."""
        return self._ready if self._stands_by(cut) else None

    def used(self, epoch: int) -> None:
        """Take note that a plan is in force under `epoch`: what was prepared under an earlier one is so no more.

        Epochs never decrease from plan to plan. Preparing the same again takes a message.
        """
        if epoch != self._used:  # else it is the same stages, with other codecs
            self._used = epoch
            self._ready = self._wished = None

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self._work.wait()
            self._work.clear()
            cut = self._wished
            if cut is None or self._stands_by(cut):
                continue
            self._ready = None  # its epoch may be another's from now on
            try:
                self._ready = await self._prepared(cut)
            except LinkError as error:
                self._epoch = 0  # who knows what the cloud has under it
                log.info("preparing of another plan broken off", reason=str(error))

    def _stands_by(self, cut: Cut) -> bool:
        ready = self._ready
        return (
            ready is not None
            and ready.stages == stages_of(cut, self._graph.sink)
            and ready.epoch > self._used
            and ready.session is self._uplink.cloud
        )

    async def _prepared(self, cut: Cut) -> ReadyStages | None:
        """Prepare both sides. Raises `LinkError` when the line goes meanwhile."""
        stages, session = stages_of(cut, self._graph.sink), self._uplink.cloud
        if session is None or self._refused.holds(cut, session, time.monotonic()):
            return None
        try:
            parts = await prepare_parts(cut, self._graph, self._stages, self._compute, Patience.MEASURE)
        except LinkError:
            raise
        except (CleaveError, RuntimeError, MemoryError) as error:  # of the executor, or of the machine
            self._refuse(cut, session, str(error) or type(error).__name__)
            return None
        if self._epoch <= self._used:
            self._epoch = next(self._epochs)
        epoch = self._epoch
        reply = await self._uplink.prepare(prepare_request(epoch, stages[1], self._graph))
        if not reply.ready:
            self._refuse(cut, session, reply.reason)
            return None
        return ReadyStages(epoch, stages, parts, session)

    def _refuse(self, cut: Cut, session: Welcome, reason: str) -> None:
        """Do not try the same in each interval."""
        self._refused.note(cut, session, time.monotonic())
        log.warning("a plan cannot stand by", cut=cut.label, reason=reason)
