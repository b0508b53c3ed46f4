"""How many bytes codecs make of the frames that come now, where none is sent that way: some are coded to see.

The profile has coded one frame. What a lossless image codec makes of the next ones depends on what the camera sees,
by a half and more. Planned with the one, a good cut is never tried, or tried and left.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import structlog

from common.errors import CleaveError
from common.partition.decide import Conditions
from common.partition.frontier import Frontier
from common.plan import Cut, stages_of
from common.wire.codecs import RAW
from edge_daemon.active_plan import run_head
from models.compute import ComputeThread, Patience
from models.crossing import frame_tensor
from models.model import PREPROCESSING_UNITS
from models.stages import Stages

log = structlog.get_logger()

WITHIN = 1.5
"""A cut is looked at that is predicted to take this many times as long as the one in force, at most."""
LOOKS = 5
"""Frames in a row that are coded at first, then one each …"""
EVERY_S = 30.0
FORGOTTEN_S = 240.0
"""After so long without a look it begins anew; what was found is planned with for a little longer."""


def cut_to_look_at(frontier: Frontier, conditions: Conditions, present: Cut) -> Cut | None:
    """Return the best cut, if one comes near, that codes pre-processed frames as `present` does not.

    Behind the network lengths depend on the frame much less, and to find them takes longer.
    """
    times = conditions.times(frontier.edge_ms, frontier.payload_bytes, frontier.cloud_ms, frontier.edge_only)
    in_force = frontier.find(present)
    order = np.argsort(times.latency_ms, kind="stable")
    most_ms = WITHIN * times.latency_ms[order[0] if in_force is None else in_force]
    for entry in order:
        if not times.latency_ms[entry] <= most_ms:
            return None
        cut = frontier.cut(int(entry))
        if _coded(cut) - _coded(present) and set(cut.edge_units).issubset(PREPROCESSING_UNITS):
            return cut
    return None


def _coded(cut: Cut) -> set[str]:
    """Return the units whose tensors are coded. Frames tell of one codec; what another makes of them goes with it."""
    return {unit for unit, codec in cut.codec_of.items() if codec != RAW}


@dataclass(slots=True)
class _Looks:
    """How many frames were coded for a cut, and when the last one was."""

    count: int = 0
    newest: float = -math.inf


class LengthCheck:
    """Codes frames that have been answered, behind others. `tell` is told each unit's codec and length in bytes;
    `changed` is called once there are enough to plan with."""

    def __init__(
        self,
        stages: Stages,
        compute: ComputeThread,
        tell: Callable[[str, str, int], None],
        changed: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stages = stages
        self._compute = compute
        self._tell = tell
        self._changed = changed
        self._clock = clock
        self._wished: Cut | None = None
        self._frame: memoryview | None = None
        self._looks: dict[str, _Looks] = {}
        self._work = asyncio.Event()

    def wish(self, cut: Cut | None) -> None:
        """Have frames coded as under `cut` from now on; none: as under no other than they are."""
        self._wished = cut

    def saw_frame(self, frame: memoryview) -> None:
        """Take note of a frame that has been answered."""
        if self._wished is not None and self._is_due(self._wished):
            self._frame = frame
            self._work.set()

    def _is_due(self, cut: Cut) -> bool:
        looks = self._looks.get(cut.label, _Looks())
        return looks.count < LOOKS or self._clock() - looks.newest >= EVERY_S

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self._work.wait()
            self._work.clear()
            cut, frame, self._frame = self._wished, self._frame, None
            if cut is None or frame is None:
                continue
            try:
                await self._look(cut, frame)
            except (CleaveError, RuntimeError, MemoryError) as error:  # of the frame, or of the machine
                log.warning("a frame cannot be coded to see its length", cut=cut.label, reason=str(error))
            del frame
            self._count(cut)

    async def _look(self, cut: Cut, frame: memoryview) -> None:
        graph = self._stages.model.graph
        stage = stages_of(cut, graph.sink)[0]
        outputs = tuple(output.unit for output in stage.outputs)
        head = await self._stages.prepare_beside(stage.units, outputs, self._compute, Patience.MEASURE)
        ran = await self._compute.run(
            run_head, cut, head, self._stages, frame_tensor(frame), patience=Patience.MEASURE
        )
        for entry in ran.result.entries:
            unit = graph.units[entry.unit].name
            self._tell(unit, cut.codec_of[unit], entry.nbytes)

    def _count(self, cut: Cut) -> None:
        now = self._clock()
        self._looks = {name: one for name, one in self._looks.items() if now - one.newest < FORGOTTEN_S}
        looks = self._looks.setdefault(cut.label, _Looks())
        looks.count, looks.newest = looks.count + 1, now
        if looks.count == LOOKS:
            self._changed()
