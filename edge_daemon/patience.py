"""How long a frame waits for the cloud: before the edge begins it, too; before the next ones do without; at all.

    sent ──────── hedge_s ─────────────── late_s ─────────────────────────── patience_s
    the answer comes │ the edge computes it too, │ frames behind it are not   │ the line is suspected,
                     │ the first answer counts   │ sent, the edge runs them   │ the cloud is given up

All in s. Asking a second server when the first is late bounds the worst case for little (Dean, Barroso, The Tail at
Scale, CACM 2013); the edge is that second server, and has all it needs.
"""

from __future__ import annotations

import math

from common import limits
from common.plan import Mode, Plan

PATIENCE = 4.0
"""A frame waits for the cloud this many times the predicted time, then the line is suspected …"""
LEAST_PATIENCE_S = 1.0
"""… but at least this long: a small prediction says little about a hiccup …"""
BLIND_PATIENCE_S = 10.0
"""… and this long while nothing has been predicted yet."""
LATE = 2.0
"""A frame that has waited this many times its predicted time tells that the link is not as planned."""
HEDGE_SHARE = 0.5
"""Of what the edge takes for the rest. Sooner, its work (the next frame waits for it) is too often in vain."""


def patience_s(plan: Plan) -> float:
    """Return how long a frame waits for the cloud's answer before the edge alone finishes it."""
    prediction = plan.prediction
    if prediction is None:
        return BLIND_PATIENCE_S
    beyond_edge_ms = prediction.latency_ms - prediction.edge_ms
    in_line_ms = limits.MAX_IN_FLIGHT * prediction.bottleneck_ms if plan.mode is not Mode.LIGHT else 0.0
    return max(PATIENCE * (beyond_edge_ms + in_line_ms) / 1e3, LEAST_PATIENCE_S)


def late_s(plan: Plan) -> float:
    """Return after what wait of one frame the next ones are finished on the edge: the link is not as planned.

    They would wait behind it. That is worth it only where the edge alone is quicker than that wait, and only under a
    plan for latency.
    """
    if plan.prediction is None or plan.edge_only_ms is None or plan.mode not in (Mode.LIGHT, Mode.HEAVY):
        return math.inf
    in_line = 1 if plan.mode is Mode.LIGHT else limits.MAX_IN_FLIGHT
    return max(LATE * in_line * plan.prediction.latency_ms, plan.edge_only_ms) / 1e3


def hedge_s(plan: Plan) -> float:
    """Return after what wait the edge begins to finish a frame, too, while its answer may still come.

    Only while the edge has time to spare (light load): else it would keep the frames behind this one waiting.
    """
    prediction = plan.prediction
    if prediction is None or plan.edge_only_ms is None or plan.mode is not Mode.LIGHT:
        return math.inf
    rest_ms = max(plan.edge_only_ms - prediction.edge_ms, 0.0)
    return max(LATE * (prediction.latency_ms - prediction.edge_ms), HEDGE_SHARE * rest_ms) / 1e3
