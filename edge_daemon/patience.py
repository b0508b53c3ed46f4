"""Whether a frame is sent to the cloud, and how long it waits there: before the edge begins it, too; at all.

    sent ──── look_s ─────── hedge_s ──────────── late_s ───────────── patience_s ───────── longest_s
              │ is the link  │ the edge computes  │ frames behind it   │ unless bytes move,  │ in any case
              │ slower than  │ it, too, the first │ are not sent, the  │ the line is         │
              │ planned?     │ answer counts      │ edge runs them     │ suspected           │

All in s. Asking a second server when the first is late bounds the worst case for little (Dean, Barroso, The Tail at
Scale, CACM 2013); the edge is that second server, and has all it needs. It leaves off when the first has answered.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from common import limits
from common.plan import Mode, Plan, Prediction

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
LEAST_HEDGE_S = 0.05
"""Below, waiting is no matter; and two looks at a frame lie as far apart."""

LEAST_LOOK_S = 0.05
"""A link that stands still for less is not looked at."""


SOME_BYTES = 4 * 1448
"""A few packets: TCP confirms every second one at least."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a frame has come in `waited_s`: what arrived in that time, and what is left up to its last byte.

    By what the cloud's kernel has confirmed; bytes of frames before it count in both.
    """

    delivered_bytes: int
    outstanding_bytes: int
    waited_s: float

    @property
    def bps(self) -> float | None:
        """What the link carries, in bit/s; none where nothing is left on it: then the cloud is waited for."""
        measurable = self.outstanding_bytes and self.waited_s > 0
        return self.delivered_bytes * 8.0 / self.waited_s if measurable else None

    def since(self, earlier: Progress) -> Progress:
        """Return what has come since an earlier look at the same frame."""
        delivered_bytes = self.delivered_bytes - earlier.delivered_bytes
        return Progress(delivered_bytes, self.outstanding_bytes, self.waited_s - earlier.waited_s)

    def has_stopped_since(self, earlier: Progress) -> bool:
        """Say whether nothing has come since an earlier look, though at the pace until then a few packets would have,
        or all that was left.

        A packet is lost, say, and TCP waits before it sends it again: that tells nothing of the link's rate. (A link
        that has become fifty times slower under this frame may look so for a second, until its average tells.)
        """
        step = self.since(earlier)
        due_bytes = (
            earlier.delivered_bytes / earlier.waited_s * step.waited_s if earlier.waited_s > 0 else 0.0
        )
        return not step.delivered_bytes and due_bytes >= min(SOME_BYTES, self.outstanding_bytes)

    @property
    def left_s(self) -> float:
        """How long the rest of the bytes will take at this pace; 0 where none is left."""
        if self.bps is None:
            return 0.0
        return self.outstanding_bytes * 8.0 / self.bps if self.bps else math.inf


def pace_told(earlier: Progress | None, now: Progress) -> Progress | None:
    """Return what two looks at a late frame tell of the link: what came between them, where that is enough; else all
    since the frame was handed over; nothing where a packet was lost, or where that was only between the two looks.
    """
    if earlier is None or now.has_stopped_since(earlier):
        return None
    step = now.since(earlier)
    return step if step.delivered_bytes >= limits.MIN_GOODPUT_BYTES else now


def patience_s(plan: Plan) -> float:
    """Return how long a frame waits for the cloud's answer before the edge alone finishes it."""
    prediction = plan.prediction
    if prediction is None:
        return BLIND_PATIENCE_S
    beyond_edge_ms = prediction.latency_ms - prediction.edge_ms
    in_line_ms = limits.MAX_IN_FLIGHT * prediction.bottleneck_ms if plan.mode is not Mode.LIGHT else 0.0
    return max(PATIENCE * (beyond_edge_ms + in_line_ms) / 1e3, LEAST_PATIENCE_S)


def longest_s(plan: Plan) -> float:
    """Return how long a frame waits while its bytes go on arriving: the line is slow then, and not dead.

    By then the edge would have had the rest ready, had it begun when patience ended; where that is not known, no
    longer than `patience_s`.
    """
    rest_ms = _rest_ms(plan)
    return patience_s(plan) + (rest_ms / 1e3 if math.isfinite(rest_ms) else 0.0)


def is_worth_sending(plan: Plan, nbytes: int, ahead: Progress | None, edge_wait_s: float = 0.0) -> bool:
    """Say whether a frame of `nbytes` is answered sooner by the cloud than by an edge that begins the rest as soon as
    it can, after `edge_wait_s`.

    `ahead`: how the frame that has waited longest has come on, and what is left of all bytes on the line. At the
    planned bandwidth, or at the pace that this frame has shown if it is late by it. Only under light load: under a
    plan for throughput frames wait in line by design, and the edge has the next heads to compute.
    """
    prediction, rest_ms = plan.prediction, _rest_ms(plan)
    if ahead is None or not ahead.outstanding_bytes or plan.mode is not Mode.LIGHT or prediction is None:
        return True
    paces = [bps for bps in (plan.bandwidth_bps,) if bps is not None]
    if ahead.bps is not None and ahead.waited_s * 1e3 > prediction.link_ms:
        paces.append(ahead.bps)
    bps = min(paces, default=math.inf)
    if bps <= 0.0:
        return not math.isfinite(rest_ms)
    on_link_ms = (ahead.outstanding_bytes + nbytes) * 8e3 / bps
    return on_link_ms + _beyond_ms(prediction) <= edge_wait_s * 1e3 + rest_ms


def is_worth_sending_after_all(
    plan: Plan, nbytes: int, outstanding_bytes: int, pace: Progress, edge_left_s: float
) -> bool:
    """Say whether a frame of `nbytes`, not sent at first, is answered sooner by the cloud if it is sent now, behind
    `outstanding_bytes`, than by an edge that has it ready in `edge_left_s`.

    `pace`: what had arrived since then, when bytes were last left on the line. Where it tells too little, a free line
    is taken to carry what was planned with, and on a full one nothing is risked. Only under light load, as with
    `is_worth_sending`.
    """
    prediction = plan.prediction
    if plan.mode is not Mode.LIGHT or prediction is None or not math.isfinite(edge_left_s):
        return False
    bps = plan.bandwidth_bps if not outstanding_bytes else None
    if pace.delivered_bytes >= limits.MIN_GOODPUT_BYTES:
        bps = pace.delivered_bytes * 8.0 / pace.waited_s
    if not bps:
        return False
    on_link_ms = (outstanding_bytes + nbytes) * 8e3 / bps
    return on_link_ms + _beyond_ms(prediction) <= edge_left_s * 1e3


def edge_ready_in_s(plan: Plan, wait_s: float) -> float:
    """Return after how long an edge that begins the rest of a frame in `wait_s` has it; infinite if nobody knows."""
    return wait_s + _rest_ms(plan) / 1e3


def edge_free_in_s(plan: Plan, busy_s: float, waiting: int) -> float:
    """Return how long an edge that has `waiting` frames' rests to compute, and has been at one for `busy_s` (0: at
    none), takes until it is free; infinite where that is not known.
    """
    rest_s = _rest_ms(plan) / 1e3
    if not math.isfinite(rest_s):
        return math.inf if busy_s or waiting else 0.0
    return waiting * rest_s + (max(rest_s - busy_s, 0.0) if busy_s else 0.0)


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
    """Return after what wait the edge considers finishing a frame, too, while its answer may still come.

    Only while the edge has time to spare (light load): else it would keep the frames behind this one waiting.
    """
    prediction = plan.prediction
    if prediction is None or plan.edge_only_ms is None or plan.mode is not Mode.LIGHT:
        return math.inf
    late_ms = LATE * (prediction.latency_ms - prediction.edge_ms)
    return max(late_ms / 1e3, HEDGE_SHARE * _rest_ms(plan) / 1e3, LEAST_HEDGE_S)


def look_s(plan: Plan) -> float:
    """Return after what wait a frame whose bytes are still on the link tells that this is slower than planned.

    Only under light load: under a plan for throughput others' bytes are on it before its own.
    """
    if plan.prediction is None or plan.mode is not Mode.LIGHT:
        return math.inf
    return LATE * plan.prediction.link_ms / 1e3 + LEAST_LOOK_S


def is_worth_hedging(plan: Plan, progress: Progress) -> bool:
    """Say whether the edge would have a late frame's answer sooner than the bytes that are left on the link take.

    Where none is left, the cloud is late, nobody knows how much.
    """
    return progress.left_s * 1e3 > _rest_ms(plan) or not progress.outstanding_bytes


def _rest_ms(plan: Plan) -> float:
    """Return what the edge takes for the cloud's part of a frame; infinite where that is not known."""
    if plan.prediction is None or plan.edge_only_ms is None:
        return math.inf
    return max(plan.edge_only_ms - plan.prediction.edge_ms, 0.0)


def _beyond_ms(prediction: Prediction) -> float:
    """Return what a frame takes behind the link."""
    return max(prediction.latency_ms - prediction.edge_ms - prediction.link_ms, 0.0)
