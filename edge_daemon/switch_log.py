"""What plans came into force, when and why: counted for ever, the latest remembered."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from common.plan import Cause, Cut, Plan

REMEMBERED = 60
"""Switches that a page is told of: the quarter of an hour it shows, at one each 15 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """One plan that came into force after another. `at` is in Unix seconds."""

    epoch: int
    before: str | None
    cut: str
    mode: str
    cause: Cause
    reason: str
    bandwidth_bps: float | None
    at: float = field(default_factory=time.time)

    def to_status(self) -> dict[str, Any]:
        """Return what a page is told of it."""
        return {
            "at": round(self.at, 3),
            "epoch": self.epoch,
            "before": self.before,
            "cut": self.cut,
            "mode": self.mode,
            "cause": str(self.cause),
            "reason": self.reason,
            "bandwidth_bps": self.bandwidth_bps,
        }


class SwitchLog:
    """All switches of a run. The first plan of all is remembered, and is no switch."""

    def __init__(self) -> None:
        self.by_cause: Counter[Cause] = Counter()
        self.latest: deque[Switch] = deque(maxlen=REMEMBERED)

    @property
    def count(self) -> int:
        return self.by_cause.total()

    def note(self, plan: Plan, before: Cut | None) -> None:
        """Take note that `plan` is in force from now on, after `before`."""
        if before is not None:
            self.by_cause[plan.cause] += 1
        self.latest.append(
            Switch(
                epoch=plan.epoch,
                before=before.label if before else None,
                cut=plan.cut.label,
                mode=str(plan.mode),
                cause=plan.cause,
                reason=plan.reason,
                bandwidth_bps=plan.bandwidth_bps,
            )
        )

    def as_counts(self) -> dict[str, int]:
        """Return how many there were by each cause."""
        return {str(cause): self.by_cause[cause] for cause in Cause}
