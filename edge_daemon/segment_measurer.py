"""The second level of the profiles: cuts that may be chosen are measured as whole segments, on both sides."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from common.errors import CleaveError, LinkError
from common.plan import Cut, stages_of
from edge_daemon.active_plan import measure_request
from edge_daemon.uplink import Uplink
from models.compute import ComputeThread
from models.measuring import TURNS, measure_in_turn
from models.stages import Stages

log = structlog.get_logger()

BUDGET_MS = 30_000.0
"""Of the edge's time: a slow device measures fewer cuts …"""
FEWEST = 3
"""… but as many as this."""
MOST_SHARE = 2.0
"""No tail is believed to take longer, in shares of the whole model: the number comes from the network."""

Learn = Callable[[Cut, float | None, float | None], None]


def affordable(cuts: Sequence[Cut], whole_ms: float) -> Sequence[Cut]:
    """Return the first of `cuts`, as many as the budget allows where the whole model takes `whole_ms`."""
    each_ms = 2 * TURNS * max(whole_ms, 1e-3)
    return cuts[: max(int(BUDGET_MS / each_ms), FEWEST)]


class SegmentMeasurer:
    """Measures in the background, behind frames. `learn` is told each cut's shares of the whole model's time."""

    def __init__(self, stages: Stages, compute: ComputeThread, uplink: Uplink, learn: Learn) -> None:
        self._stages = stages
        self._compute = compute
        self._uplink = uplink
        self._learn = learn
        self._wished: Sequence[Cut] = ()
        self._done_for: object = None
        self._work = asyncio.Event()

    def wish(self, level: object, cuts: Callable[[], Sequence[Cut]]) -> None:
        """Have `cuts` measured, once for a pair of profiles (`level`), unless that is being done."""
        if self._done_for != level and not self._wished:
            self._done_for = level
            self._wished = cuts()
            self._work.set()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self._work.wait()
            self._work.clear()
            measured = 0
            try:
                for cut in self._wished:
                    await self._measure(cut)
                    measured += 1
            except LinkError as error:
                self._done_for = None  # when the link is back
                log.info("measuring of segments broken off", reason=str(error))
            except (CleaveError, RuntimeError, MemoryError) as error:  # of the executor, or of the machine
                log.warning("segments cannot be measured", reason=str(error))
            finally:
                self._wished = ()
            if measured:
                log.info("segments measured", cuts=measured)

    async def _measure(self, cut: Cut) -> None:
        graph = self._stages.model.graph
        head_share = tail_share = None
        if 1 < len(cut.edge_units) < len(graph):
            part, whole = (cut.edge_units, cut.crossing), (graph.names, (graph.sink,))
            head_ms, whole_ms = await measure_in_turn(self._stages, part, whole, self._compute)
            head_share = head_ms / whole_ms if whole_ms else None
            reply = await self._uplink.measure(measure_request(stages_of(cut, graph.sink)[1], graph))
            if not reply.measured:
                log.warning("the cloud cannot measure a stage", cut=cut.label, reason=reply.reason)
            elif reply.whole_ms:
                tail_share = min(reply.stage_ms / reply.whole_ms, MOST_SHARE)
        if head_share is not None or tail_share is not None:
            self._learn(cut, head_share, tail_share)
