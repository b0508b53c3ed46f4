"""What the log says of plans: a line for each switch, with its reason and numbers, and of overload."""

from __future__ import annotations

import structlog

from common.partition.decide import Decision
from common.plan import Cut, Mode, Plan
from common.quantities import format_bandwidth

log = structlog.get_logger()


def tell_plan(plan: Plan, before: Cut | None) -> None:
    """Log that `plan` is in force from now on, after `before`."""
    log.info(
        "plan",
        epoch=plan.epoch,
        cut=plan.cut.label,
        before=before.label if before else None,
        mode=str(plan.mode),
        bandwidth=format_bandwidth(plan.bandwidth_bps) if plan.bandwidth_bps else None,
        predicted_ms=round(plan.prediction.latency_ms, 1) if plan.prediction else None,
        cause=str(plan.cause),
        reason=plan.reason,
    )


def tell_decision(before: Plan, decision: Decision, bandwidth_bps: float, rate_fps: float | None) -> None:
    """Log what a person must know though the cut may be the same: the beginning and the end of overload."""
    bandwidth = format_bandwidth(bandwidth_bps)
    if decision.mode is Mode.OVERLOADED and before.mode is not Mode.OVERLOADED:
        log.warning(
            "overloaded: no cut keeps the sampling rate",
            sampling_fps=rate_fps,
            sustainable_fps=round(decision.sustainable_fps, 2),
            bandwidth=bandwidth,
        )
    elif before.mode is Mode.OVERLOADED and decision.mode is not Mode.OVERLOADED:
        log.info("no longer overloaded", sampling_fps=rate_fps, cut=decision.cut.label)
    elif before.mode is not decision.mode and before.cut == decision.cut:
        log.info("mode", mode=str(decision.mode), reason=decision.reason, bandwidth=bandwidth)
    else:
        log.debug("plan looked at", reason=decision.reason, bandwidth=bandwidth)
