"""How fast this device is now, where no frame tells: a small part of the network is run now and then.

A plan that leaves the edge next to nothing to compute shows nothing of the edge's speed. Were the profile taken in a
slow moment, nothing would ever correct it, and the cut that is best would never be tried.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog
import torch

from common.errors import CleaveError
from common.graph import ModelGraph
from common.profile import Profile
from edge_daemon.drift import FEWEST
from models.compute import ComputeThread, Patience
from models.executor import CompiledSegment
from models.measuring import Part
from models.stages import Stages

log = structlog.get_logger()

EVERY_S = 30.0
"""Between two looks: what they tell holds for `drift.STALE_S`."""
PAUSE_S = 1.0
"""Between two runs of a look: frames go in between, and what slows a device for a moment counts once."""
PART_MS = 100.0
"""The part takes no longer by the profile, since frames may have to wait for it; a single unit may."""
WITHIN = 1.25
"""A few units say no more of the whole network than that: within, the profile holds."""


def part_to_check(graph: ModelGraph, network: tuple[str, ...], unit_ms: Mapping[str, float]) -> Part:
    """Return the first units of the network that take up to `PART_MS` together, at least one, and their outputs."""
    taken: list[str] = []
    sum_ms = 0.0
    for name in network:
        sum_ms += unit_ms[name]
        if taken and sum_ms > PART_MS:
            break
        taken.append(name)
    inside = frozenset(taken)
    return tuple(taken), tuple(name for name in taken if not inside.issuperset(graph.successors[name]))


def times_as_long(cold_ms: float, warm_ms: float, planned_ms: float) -> float:
    """Return how many times as long as it is planned with a device takes, by what a part took, cold and warm.

    In any unit. A part that is run alone finds the caches cold, and run at once again warmer than any frame does.
    """
    if warm_ms > planned_ms * WITHIN:
        return warm_ms / planned_ms
    if cold_ms < planned_ms / WITHIN:
        return cold_ms / planned_ms
    return 1.0


@dataclass(frozen=True, slots=True)
class Sample:
    """A part of the network, compiled, what it is run with, and what it takes by the profile, in ms."""

    compiled: CompiledSegment
    inputs: Mapping[str, torch.Tensor]
    profiled_ms: float


class SpotCheck:
    """Runs the part behind frames. `unseen` says whether frames tell nothing of this device; `tell` is told how many
    times as long as profiled it takes, run alone and at once again: see `times_as_long`."""

    def __init__(
        self,
        stages: Stages,
        slowdown: float,
        compute: ComputeThread,
        unseen: Callable[[], bool],
        tell: Callable[[float, float], None],
    ) -> None:
        self._stages = stages
        self._slowdown = slowdown
        self._compute = compute
        self._unseen = unseen
        self._tell = tell

    async def run(self, profile: Profile) -> None:
        """Look again and again until cancelled. That this device cannot is logged once, and tried again."""
        part = part_to_check(self._stages.model.graph, self._stages.model.network_units, profile.unit_ms)
        profiled_ms = sum(profile.unit_ms[name] for name in part[0])
        sample: Sample | None = None
        said = False
        while profiled_ms > 0:
            await asyncio.sleep(EVERY_S)
            if not self._unseen():
                continue
            try:
                sample = sample or await self._sample(part, profiled_ms)
                await self._look(sample)
            except (CleaveError, RuntimeError, MemoryError) as error:  # of the executor, or of the machine
                if not said:
                    log.warning("this device's speed is not checked between frames now", reason=str(error))
                said = True

    async def _sample(self, part: Part, profiled_ms: float) -> Sample:
        compiled = await self._stages.prepare_beside(*part, self._compute, Patience.MEASURE)
        return Sample(compiled, self._stages.example(compiled.segment), profiled_ms)

    async def _look(self, sample: Sample) -> None:
        for _ in range(FEWEST):
            ran = await self._compute.run(self._cold_and_warm_ms, sample, patience=Patience.MEASURE)
            cold_ms, warm_ms = ran.result
            self._tell(cold_ms / sample.profiled_ms, warm_ms / sample.profiled_ms)
            await asyncio.sleep(PAUSE_S)

    def _cold_and_warm_ms(self, sample: Sample) -> tuple[float, float]:
        """Run the part twice, as the profile's units were run: at full speed, and multiplied by the slowdown."""
        times_ms = []
        for _ in range(2):
            began = time.perf_counter()
            sample.compiled.execute(sample.inputs)
            times_ms.append((time.perf_counter() - began) * 1e3 * self._slowdown)
        return times_ms[0], times_ms[1]
