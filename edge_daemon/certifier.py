"""Runs frames to see whether a lossy cut's answers agree with the unsplit model's: in the background."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import structlog
import torch

from common.errors import CleaveError
from common.limits import MIB
from common.plan import Cut
from edge_daemon.active_plan import EdgeParts, prepare_parts
from edge_daemon.fidelity import (
    CALIBRATION_FRAMES,
    FEWEST_FRAMES,
    RECHECK_EVERY,
    Comparison,
    Fidelity,
    compare,
    losses_of,
)
from models.codecs import received
from models.compute import ComputeThread, Patience
from models.crossing import frame_tensor
from models.stages import Stages

log = structlog.get_logger()

MOST_KEPT_BYTES = 32 * MIB
"""Of frames to calibrate with; of large ones there are fewer, but as many as are needed."""


@dataclass(slots=True)
class Calibration:
    """A frame to calibrate with, and the unsplit model's answer, once that is known."""

    frame: memoryview
    reference: torch.Tensor | None


@dataclass(frozen=True, slots=True)
class Answered:
    """A frame that was answered under a lossy cut."""

    cut: Cut
    frame: memoryview
    answer: torch.Tensor


class Certifier:
    """Keeps recent frames; certifies the cut that is wished for, and looks again now and then."""

    def __init__(
        self, fidelity: Fidelity, stages: Stages, compute: ComputeThread, changed: Callable[[], None]
    ) -> None:
        self.fidelity = fidelity
        self._stages = stages
        self._compute = compute
        self._changed = changed
        self._frames: deque[Calibration] = deque(maxlen=CALIBRATION_FRAMES)
        self._wished: Cut | None = None
        self._recheck: Answered | None = None
        self._answered = 0
        self._work = asyncio.Event()

    # --- what others tell -------------------------------------------------------------------------------
    def saw_answer(self, frame: memoryview, cut: Cut, answer: torch.Tensor) -> None:
        """Take note of a frame and its answer under `cut`. Some are kept to calibrate with, if that may be needed;
        some that were answered under a lossy cut are compared with the unsplit model's."""
        if not self.fidelity.losses:
            return
        # By a lossless cut the answer is the unsplit model's: it need not be asked again.
        self._frames.append(Calibration(frame, None if losses_of(cut) else answer))
        while (
            len(self._frames) > FEWEST_FRAMES
            and sum(kept.frame.nbytes for kept in self._frames) > MOST_KEPT_BYTES
        ):
            self._frames.popleft()
        if losses_of(cut):
            self._answered += 1
            if self._answered % RECHECK_EVERY == 0:
                self._recheck = Answered(cut, frame, answer)
                self._work.set()

    def wish(self, cut: Cut) -> None:
        """Have `cut` certified or refused, as soon as there are frames enough."""
        if len(self._frames) >= FEWEST_FRAMES and self._wished is None:
            self._wished = cut
            self._work.set()

    # --- the work ---------------------------------------------------------------------------------------
    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self._work.wait()
            self._work.clear()
            wished, recheck = self._wished, self._recheck
            self._recheck = None
            try:
                if recheck is not None:
                    await self._look_again(recheck)
                if wished is not None:
                    await self._certify(wished)
                self._changed()
            except (CleaveError, RuntimeError, MemoryError) as error:  # of the executor, or of the machine
                log.warning("a lossy cut could not be looked at", reason=str(error))
            finally:
                self._wished = None  # what failed is wished for again at the next look

    async def _certify(self, cut: Cut) -> None:
        frames = list(self._frames)
        parts = await prepare_parts(cut, self._stages.model.graph, self._stages, self._compute)
        comparisons: list[Comparison] = []
        verdict = None
        while verdict is None:
            one = frames[len(comparisons)]
            if one.reference is None:
                one.reference = await self._run(self._whole, one.frame)
            answer = await self._run(_lossy, parts, cut, one.frame)
            comparisons.append(self._compare(one.reference, answer))
            verdict = self.fidelity.verdict(cut, comparisons, len(frames))
        certificate = self.fidelity.of(cut)
        assert certificate is not None
        log.info(
            "lossy cut certified" if verdict else "lossy cut refused",
            cut=cut.label,
            frames=certificate.frames,
            agreement=round(certificate.agreement, 4),
            largest_change=round(certificate.largest_change, 4),
            needed=self.fidelity.min_agreement,
        )

    async def _look_again(self, answered: Answered) -> None:
        reference = await self._run(self._whole, answered.frame)
        comparison = self._compare(reference, answered.answer)
        if not self.fidelity.recheck(answered.cut, comparison) and not self.fidelity.may_use(answered.cut):
            log.warning("a lossy cut agrees no longer, it is given up", cut=answered.cut.label)

    async def _run(self, function: Callable[..., torch.Tensor], *arguments: object) -> torch.Tensor:
        done = await self._compute.run(function, *arguments, patience=Patience.MEASURE)
        return done.result

    def _whole(self, frame: memoryview) -> torch.Tensor:
        graph = self._stages.model.graph
        compiled = self._stages.prepare(graph.names, (graph.sink,))
        return compiled.run({graph.source: frame_tensor(frame)})[graph.sink]

    @staticmethod
    def _compare(reference: torch.Tensor, answer: torch.Tensor) -> Comparison:
        return compare(reference[0].tolist(), answer[0].tolist())


def _lossy(parts: EdgeParts, cut: Cut, frame: memoryview) -> torch.Tensor:
    """Run a frame as both machines would together, the crossing tensors by their codecs."""
    assert parts.head is not None
    assert parts.rest is not None
    crossing = parts.head.run({parts.head.segment.inputs[0]: frame_tensor(frame)})
    arrived = {unit: received(codec, crossing[unit]) for unit, codec in cut.codec_of.items()}
    (answer,) = parts.rest.run(arrived).values()
    return answer
