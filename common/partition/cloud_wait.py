"""What a busy cloud does to a decision, and when that is worth a word."""

from __future__ import annotations

from dataclasses import replace

from common.partition.decide import Conditions, Decision, choose
from common.partition.frontier import Frontier
from common.plan import Cause, Cut

TELLING = 0.15
"""Share of the predicted latency from which on the wait is told, though it changes nothing."""


def leaves_for_load(frontier: Frontier, conditions: Conditions, decision: Decision) -> bool:
    """Whether the decision is for the edge alone only because the cloud is busy."""
    if decision.cut.cloud_units or not conditions.cloud_wait_ms:
        return False
    free = choose(frontier, replace(conditions, cloud_wait_ms=0.0))
    return bool(frontier.cut(free.entry).cloud_units)


def tell_wait(
    frontier: Frontier, conditions: Conditions, decision: Decision, before: Cut | None = None
) -> Decision:
    """Return the decision with the cloud's wait in its reason, where that has moved the cut or is long.

    The wait is its cause if it takes units out of the cloud that were there under the cut `before`.
    """
    wait_ms = conditions.cloud_wait_ms
    if not wait_ms:
        return decision
    free = frontier.cut(choose(frontier, replace(conditions, cloud_wait_ms=0.0)).entry)
    long = bool(decision.cut.cloud_units) and wait_ms >= TELLING * decision.prediction.latency_ms
    if free == decision.cut and not long:
        return decision
    reason = f"{decision.reason} (the cloud is busy: {wait_ms:.0f} ms wait)"
    leaves = before is not None and len(decision.cut.cloud_units) < len(before.cloud_units)
    cause = Cause.CLOUD_BUSY if leaves and free != decision.cut else decision.cause
    return replace(decision, reason=reason, cause=cause)
