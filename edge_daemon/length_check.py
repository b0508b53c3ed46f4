"""How many bytes codecs make of the frames that come now, where none is sent that way: some are coded to see.

The profile has coded one frame. What a lossless image codec makes of the next ones depends on what the camera sees,
by a half and more. Planned with the one, a good cut is never tried, or tried and left.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import structlog
import torch

from common.errors import CleaveError
from common.partition.decide import Conditions
from common.partition.frontier import Frontier
from common.plan import Cut, Mode, stages_of
from common.wire.codecs import RAW, Loss, loss_of
from edge_daemon.active_plan import run_head
from models.compute import ComputeThread, Patience
from models.crossing import frame_tensor
from models.model import PREPROCESSING_UNITS
from models.stages import Stages

log = structlog.get_logger()

WITHIN = 1.5
"""Cuts are looked at that are predicted to take this many times as long as the one in force, at most …"""
MOST = 2
"""… the first of them, one after the other."""
LOOKS = 5
"""Frames that are coded for a cut before anything is told, in no more than `FIRST_SHARE` of the time …"""
FIRST_SHARE = 0.1
EVERY_S, SHARE = 30.0, 0.01
"""… and then one each so many seconds, for whichever cut; less often where that would be more than this share of the
time, but none so late that what is known is stale. A frame that comes meanwhile waits for it."""
RECENT = 20
"""Lengths that are told: those found last."""
STALE_S = 240.0
"""After so long without a look they are begun anew."""
LONGEST_S = (STALE_S - EVERY_S) / MOST
"""Between two looks: each of the cuts has one before that."""

Lengths = dict[tuple[str, str], int]
"""What a (unit, codec) has become, in bytes."""


def cuts_to_look_at(frontier: Frontier, conditions: Conditions, present: Cut, mode: Mode) -> tuple[Cut, ...]:
    """Return the best cuts, as far as they come near, that code pre-processed frames as `present` does not.

    Near in latency, or in what a frame takes at the bottleneck, as the plan of this `mode` is decided. Behind the
    network lengths depend on the frame much less, and to find them takes longer.
    """
    times = conditions.times(frontier.edge_ms, frontier.payload_bytes, frontier.cloud_ms, frontier.edge_only)
    for_rate = conditions.rate_fps is None or mode is Mode.OVERLOADED
    value = times.bottleneck_ms if for_rate else times.latency_ms
    in_force = frontier.find(present)
    most_ms = WITHIN * float(value.min() if in_force is None else value[in_force])
    sets = frontier.sets
    network = np.array([name not in PREPROCESSING_UNITS for name in sets.graph.names])
    uses_network = np.asarray(sets.members[:, network].any(axis=1))
    near = np.flatnonzero(~uses_network[frontier.rows] & (value <= most_ms))
    cuts = (frontier.cut(int(entry)) for entry in near[np.argsort(value[near], kind="stable")])
    # What one lossless codec makes of frames tells enough of what another would.
    told = {unit for unit, codec in _coded(present) if loss_of(codec) is Loss.NONE}
    tell = (cut for cut in cuts if {unit for unit, _ in _coded(cut) - _coded(present)} - told)
    return tuple(itertools.islice(tell, MOST))


def _coded(cut: Cut) -> set[tuple[str, str]]:
    return {(unit, codec) for unit, codec in cut.codec_of.items() if codec != RAW}


@dataclass(slots=True)
class _Looks:
    """What frames became under a cut, and when the last one was coded."""

    found: deque[Lengths] = field(default_factory=lambda: deque(maxlen=RECENT))
    newest: float = -math.inf


class LengthCheck:
    """Codes frames that have been answered, behind others.

    `tell` is told what a (unit, codec) makes of frames, in bytes, by the last of them; once there are `LOOKS`, when
    `changed` is called, too.
    """

    def __init__(
        self,
        stages: Stages,
        compute: ComputeThread,
        tell: Callable[[str, str, Sequence[int]], None],
        changed: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stages = stages
        self._compute = compute
        self._tell = tell
        self._changed = changed
        self._clock = clock
        self._wished: dict[Cut, _Looks] = {}
        self._next_at = -math.inf
        self._frame: memoryview | None = None
        self._work = asyncio.Event()

    def wish(self, cuts: Sequence[Cut]) -> None:
        """Have frames coded as under `cuts` from now on, and no others; what was found for others is forgotten.

        A cut that has been in force meanwhile begins anew: its frames have told more than these looks.
        """
        self._wished = {cut: self._wished.get(cut) or _Looks() for cut in cuts}
        if not cuts:
            self._frame = None

    def saw_frame(self, frame: memoryview) -> None:
        """Take note of a frame that has been answered."""
        if self._due() is not None:
            self._frame = frame
            self._work.set()

    def _due(self) -> Cut | None:
        """Return the cut to code the next frame for: the first that too little is known of, or that was looked at
        longest ago; none while it is not yet time."""
        if self._clock() < self._next_at:
            return None
        begun = (cut for cut, looks in self._wished.items() if len(looks.found) < LOOKS)
        return next(begun, None) or min(self._wished, key=lambda cut: self._wished[cut].newest, default=None)

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self._work.wait()
            self._work.clear()
            frame, self._frame = self._frame, None
            cut = self._due()  # one was coded, and others wished for, since that frame came
            if cut is not None and frame is not None:
                await self._look(cut, self._wished[cut], frame)
            frame = None

    async def _look(self, cut: Cut, looks: _Looks, frame: memoryview) -> None:
        if self._clock() - looks.newest > STALE_S:
            looks.found.clear()
        try:
            lengths, took_s = await self._coded(cut, frame_tensor(frame))
        except (CleaveError, RuntimeError, MemoryError) as error:  # of the frame, or of the machine
            log.warning("a frame cannot be coded to see its length", cut=cut.label, reason=str(error))
            self._next_at = self._clock() + EVERY_S
            return
        looks.found.append(lengths)
        looks.newest = self._clock()
        all_known = all(len(one.found) >= LOOKS for one in self._wished.values())
        pause_s = min(max(EVERY_S, took_s / SHARE), LONGEST_S) if all_known else took_s / FIRST_SHARE
        self._next_at = looks.newest + pause_s
        if len(looks.found) >= LOOKS and cut in self._wished:
            for unit, codec in lengths:
                self._tell(
                    unit, codec, [found[unit, codec] for found in looks.found if (unit, codec) in found]
                )
        if len(looks.found) == LOOKS:
            self._changed()

    async def _coded(self, cut: Cut, frame: torch.Tensor) -> tuple[Lengths, float]:
        """Return what became of a frame under `cut`, and how long that took, in s. Raises what the executor does."""
        graph = self._stages.model.graph
        stage = stages_of(cut, graph.sink)[0]
        outputs = tuple(output.unit for output in stage.outputs)
        head = await self._stages.prepare_beside(stage.units, outputs, self._compute, Patience.MEASURE)
        ran = await self._compute.run(run_head, cut, head, self._stages, frame, patience=Patience.MEASURE)
        if ran.result.error is not None:
            raise ran.result.error
        names = [graph.units[entry.unit].name for entry in ran.result.entries]
        coded = _coded(cut)
        lengths = {
            (name, cut.codec_of[name]): entry.nbytes
            for name, entry in zip(names, ran.result.entries, strict=True)
            if (name, cut.codec_of[name]) in coded
        }
        return lengths, ran.run_ms / 1e3
