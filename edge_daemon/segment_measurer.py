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
from models.measuring import TURNS, measure_in_turn, whole_network
from models.stages import Stages

log = structlog.get_logger()

BUDGET_MS = 30_000.0
"""Of the edge's time: a slow device measures fewer cuts …"""
FEWEST = 3
"""… but as many as this."""
MOST_SHARE = 2.0
"""No tail is believed to take longer, in shares of the network: the number comes from another machine."""

Learn = Callable[[Cut, float | None, float | None], None]
Whole = Callable[[float], None]


def affordable(cuts: Sequence[Cut], whole_ms: float) -> Sequence[Cut]:
    """Return the first of `cuts`, as many as the budget allows where the whole model takes `whole_ms`."""
    each_ms = 2 * TURNS * max(whole_ms, 1e-3)
    return cuts[: max(int(BUDGET_MS / each_ms), FEWEST)]


class SegmentMeasurer:
    """Measures in the background, behind frames. `learn` is told each cut's shares of the whole network's time, and
    before that `whole` what this network took as a whole in turn with the head, in ms, and `cloud_whole` what it took
    in the cloud in turn with the tail.

    Pre-processing is left out: it depends on the frames' size, and the profile has it for theirs.
    """

    def __init__(
        self,
        stages: Stages,
        compute: ComputeThread,
        uplink: Uplink,
        learn: Learn,
        whole: Whole,
        cloud_whole: Whole,
    ) -> None:
        self._stages = stages
        self._compute = compute
        self._uplink = uplink
        self._learn = learn
        self._whole = whole
        self._cloud_whole = cloud_whole
        self._wished: Sequence[Cut] = ()
        self._level: object = None
        """The profiles for which cuts are measured, or were last …"""
        self._tried: set[Cut] = set()
        """… those of them that were …"""
        self._broken_off = False
        """… and whether the link went meanwhile."""
        self._wished_for: object = None
        self._work = asyncio.Event()
        self._number = 0

    @property
    def left(self) -> int | None:
        """How many cuts are still to be measured; none while that is not known: before the first wish, while other
        profiles than the present ones are measured for, and since a lost link broke the measuring off."""
        if self._level is None or self._level != self._wished_for or self._broken_off:
            return None
        return sum(cut not in self._tried for cut in self._wished)

    def wish(self, level: object, cuts: Callable[[], Sequence[Cut]]) -> None:
        """Have `cuts` measured, once for a pair of profiles (`level`), unless that is being done.

        What is being measured for others is measured to its end; wish again after that.
        """
        self._wished_for = level
        if (self._level != level or self._broken_off) and not self._wished:
            if self._level != level:
                self._tried.clear()
            self._level, self._broken_off = level, False
            self._wished = [cut for cut in cuts() if cut not in self._tried]
            self._work.set()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self._work.wait()
            self._work.clear()
            measured = 0
            try:
                for cut in self._wished:
                    measured += await self._measured(cut)
                    self._tried.add(cut)
            except LinkError as error:
                self._broken_off = True
                log.info("measuring of segments broken off", reason=str(error))
            finally:
                self._wished = ()
            if measured:
                log.info("segments measured", cuts=measured)

    async def _measured(self, cut: Cut) -> bool:
        """Measure a cut and tell what was learnt, if anything. Raises `LinkError` when the link goes."""
        try:
            head_share, tail_share = await self._head_share(cut), await self._tail_share(cut)
        except LinkError:
            raise
        except (CleaveError, RuntimeError, MemoryError) as error:  # of the executor, or of the machine
            log.warning("a segment cannot be measured", cut=cut.label, reason=str(error))
            return False
        if head_share is None and tail_share is None:
            return False
        self._learn(cut, head_share, tail_share)
        return True

    async def _head_share(self, cut: Cut) -> float | None:
        """Return what the network's part of the head takes of the whole network here; none if there is none."""
        network = set(self._stages.model.network_units)
        units = tuple(name for name in cut.edge_units if name in network)
        outputs = tuple(name for name in cut.crossing if name in network)
        if not outputs:
            return None
        whole = whole_network(self._stages.model)
        part_ms, whole_ms = await measure_in_turn(self._stages, (units, outputs), whole, self._compute)
        if not whole_ms:
            return None
        self._whole(whole_ms)
        return part_ms / whole_ms

    async def _tail_share(self, cut: Cut) -> float | None:
        """Return what the tail takes of the whole network in the cloud; none where the frame's size matters."""
        graph = self._stages.model.graph
        if not cut.crossing or {graph.source, "decode"} & set(cut.crossing):
            return None
        self._number += 1
        request = measure_request(self._number, stages_of(cut, graph.sink)[1], graph)
        reply = await self._uplink.measure(request)
        if not reply.measured:
            log.warning("the cloud cannot measure a stage", cut=cut.label, reason=reply.reason)
        if not reply.measured or not reply.whole_ms:
            return None
        self._cloud_whole(reply.whole_ms)
        return min(reply.stage_ms / reply.whole_ms, MOST_SHARE)
