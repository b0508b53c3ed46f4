"""How often frames are taken: the rate that was asked for, lowered while no cut keeps it.

The controller plans with the rate that was asked for, always. Planned with the lowered one, an edge would look as if
it kept its rate, and would never learn that it can do more. So while it is overloaded the plan is the one that
sustains most, and what that sustains is what is taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from common import limits


@dataclass(frozen=True, slots=True)
class Sampling:
    """Frames per second: `asked_fps` by the operator (0: as fast as possible), `fps` now, and why.

    `better_since` is since when more could be taken, in seconds of a monotonic clock.
    """

    asked_fps: float
    fps: float
    reason: str | None = None
    better_since: float | None = None

    @classmethod
    def at(cls, asked_fps: float) -> Sampling:
        return cls(asked_fps, asked_fps)

    def to_status(self) -> dict[str, float | str | None]:
        """Return what the status says; none for a rate: as fast as possible."""
        return {"asked_fps": self.asked_fps or None, "fps": round(self.fps, 4) or None, "reason": self.reason}


def adapt(now: Sampling, sustainable_fps: float | None, overloaded: bool, at: float) -> Sampling:
    """Return the sampling after a look at the plan, which sustains `sustainable_fps` (None: not known).

    Down at once, to what is sustained less a margin, if that is clearly less than now. Up only when more has been
    possible for some time, so that a rate at the edge is not raised and lowered in turns.
    """
    if not now.asked_fps:
        return now
    best_fps = now.asked_fps
    if overloaded and sustainable_fps is not None and math.isfinite(sustainable_fps):
        best_fps = min(best_fps, sustainable_fps * (1 - limits.ADAPT_MARGIN))
    if best_fps < now.fps * (1 - limits.ADAPT_LEAST):
        reason = f"no cut keeps {now.asked_fps:.3g} frames/s, the best sustains {sustainable_fps:.3g}"
        return Sampling(now.asked_fps, best_fps, reason)
    if (
        best_fps < now.asked_fps and best_fps <= now.fps * (1 + limits.ADAPT_LEAST)
    ) or now.fps == now.asked_fps:
        return replace(now, better_since=None)
    if now.better_since is None:
        return replace(now, better_since=at)
    if at - now.better_since < limits.ADAPT_UP_AFTER_S:
        return now
    if best_fps == now.asked_fps:
        return Sampling.at(now.asked_fps)
    reason = f"no cut keeps {now.asked_fps:.3g} frames/s, the best sustains {sustainable_fps:.3g} now"
    return Sampling(now.asked_fps, best_fps, reason)


def is_sampled(position_s: float, before_s: float | None, fps: float) -> bool:
    """Say whether a video's frame is one of those that a sampling rate takes: the first in each period.

    It depends on the frame and the one before it alone, so that a video that is gone on with is thinned alike.
    """
    return not fps or before_s is None or math.floor(position_s * fps) != math.floor(before_s * fps)
