"""Has the source take fewer frames while no cut keeps the rate that was asked for, and says so."""

from __future__ import annotations

import structlog

from common.plan import Mode, Plan
from edge_daemon.sampling import Sampling, adapt
from edge_daemon.sources import FrameSource

log = structlog.get_logger()


class RateAdapter:
    """Looks at each plan. With `adapts` false the rate stays as it was asked for."""

    def __init__(self, source: FrameSource, asked_fps: float, *, adapts: bool) -> None:
        self._source = source
        self._adapts = adapts
        self.sampling = Sampling.at(asked_fps)

    def look(self, plan: Plan, now: float) -> None:
        """Adapt the rate to what `plan` sustains; `now` is of any one monotonic clock, in seconds."""
        if not self._adapts:
            return
        before = self.sampling
        self.sampling = adapt(before, plan.sustainable_fps, plan.mode is Mode.OVERLOADED, now)
        if self.sampling.fps == before.fps:
            return
        self._source.set_rate(self.sampling.fps)
        log.info(
            "the sampling rate is lowered"
            if self.sampling.fps < before.fps
            else "the sampling rate is raised",
            fps=round(self.sampling.fps, 2),
            before=round(before.fps, 2),
            asked=self.sampling.asked_fps,
            reason=self.sampling.reason or f"the cut {plan.cut.label} keeps what was asked for",
        )
