"""Choose a cut for the present conditions (DADS), and decide whether it is worth a switch.

Source: DADS (Hu, Bao, Wang, Liu, INFOCOM 2019), algorithms 1–3, with the middle problem that it skips:
under heavy load the least latency among the cuts that keep the full rate. See planning.md §1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from common import limits
from common.graph import ModelGraph
from common.partition.codings import Codings
from common.partition.frontier import Frontier
from common.partition.segment_times import SegmentTimes
from common.plan import Cause, Cut, Mode, Prediction

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What a decision depends on beside the frontier.

    `bandwidth_bps` is upwards, in bit/s; 0 says that there is no link. `rate_fps` is the sampling rate, or
    none for a backlog to drain as fast as possible. The scales multiply a side's profiled times.
    `cloud_wait_ms` is what other edges' frames hold up each frame at the cloud: a part of the cloud's stage,
    which as a whole keeps up no more than a frame in its own time and this one.
    """

    bandwidth_bps: float
    rtt_ms: float = 0.0
    answer_ms: float = 0.0
    rate_fps: float | None = None
    edge_scale: float = 1.0
    cloud_scale: float = 1.0
    cloud_wait_ms: float = 0.0

    def __post_init__(self) -> None:
        for name in ("bandwidth_bps", "rtt_ms", "answer_ms", "cloud_wait_ms"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} is {value!r}, not a finite number ≥ 0")
        for name in ("edge_scale", "cloud_scale"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} is {value!r}, not a finite number > 0")
        if self.rate_fps is not None and not (math.isfinite(self.rate_fps) and self.rate_fps > 0):
            raise ValueError(f"rate_fps is {self.rate_fps!r}, not a finite number > 0")

    @property
    def period_ms(self) -> float:
        """Time between two frames; infinite when no rate is given."""
        return 1000.0 / self.rate_fps if self.rate_fps else math.inf

    def predict(self, edge_ms: float, payload_bytes: float, cloud_ms: float, edge_only: bool) -> Prediction:
        """Predict one cut's times from its profiled costs."""
        times = self.times(
            np.array([edge_ms]), np.array([payload_bytes]), np.array([cloud_ms]), np.array([edge_only])
        )
        return times.prediction(0)

    def times(
        self, edge_ms: Array, payload_bytes: Array, cloud_ms: Array, edge_only: NDArray[np.bool_]
    ) -> Times:
        """Predict the times of many cuts at once, in ms."""
        edge = edge_ms * self.edge_scale
        cloud = np.where(edge_only, 0.0, cloud_ms * self.cloud_scale + self.cloud_wait_ms)
        if self.bandwidth_bps > 0:
            link = np.where(edge_only, 0.0, payload_bytes * (8000.0 / self.bandwidth_bps))
        else:
            link = np.where(edge_only, 0.0, np.inf)
        extra = np.where(edge_only, 0.0, self.rtt_ms + self.answer_ms)
        return Times(
            edge, link, cloud, edge + link + cloud + extra, np.maximum(np.maximum(edge, link), cloud)
        )


@dataclass(frozen=True, slots=True)
class Times:
    """Predicted times of several cuts, in ms, entry by entry."""

    edge_ms: Array
    link_ms: Array
    cloud_ms: Array
    latency_ms: Array
    bottleneck_ms: Array

    def prediction(self, entry: int) -> Prediction:
        return Prediction(
            edge_ms=float(self.edge_ms[entry]),
            link_ms=float(self.link_ms[entry]),
            cloud_ms=float(self.cloud_ms[entry]),
            latency_ms=float(self.latency_ms[entry]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """An optimal cut: an entry of the frontier, the problem it solves, and the value that proves it."""

    entry: int
    mode: Mode
    prediction: Prediction
    lower_bound_ms: float


def choose(frontier: Frontier, conditions: Conditions) -> Choice:
    """Pick the optimal cut, exactly.

    With a rate: the least latency if that cut keeps the rate (light), else the least latency among those
    that do (heavy), else the least bottleneck (overloaded). Without one, the least bottleneck (drain).
    Ties go to the other measure.
    """
    times = conditions.times(frontier.edge_ms, frontier.payload_bytes, frontier.cloud_ms, frontier.edge_only)
    by_latency = np.lexsort((times.bottleneck_ms, times.latency_ms))
    by_bottleneck = np.lexsort((times.latency_ms, times.bottleneck_ms))
    if conditions.rate_fps is None:
        entry, mode, objective = by_bottleneck[0], Mode.DRAIN, times.bottleneck_ms
    else:
        keeps_rate = times.bottleneck_ms <= conditions.period_ms
        if keeps_rate[by_latency[0]]:
            entry, mode, objective = by_latency[0], Mode.LIGHT, times.latency_ms
        elif keeps_rate.any():
            entry = by_latency[keeps_rate[by_latency]][0]
            mode, objective = Mode.HEAVY, times.latency_ms
        else:
            entry, mode, objective = by_bottleneck[0], Mode.OVERLOADED, times.bottleneck_ms
    return Choice(
        entry=int(entry),
        mode=mode,
        prediction=times.prediction(int(entry)),
        lower_bound_ms=float(objective[entry]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Profiled costs of any cut, on the frontier or not."""

    edge_ms: float
    payload_bytes: float
    cloud_ms: float

    @classmethod
    def of(
        cls,
        graph: ModelGraph,
        cut: Cut,
        edge_ms: Mapping[str, float],
        cloud_ms: Mapping[str, float],
        codings: Codings | None = None,
        segments: SegmentTimes | None = None,
    ) -> Costs:
        """Add up what `cut` costs.

        Without `codings`, as if everything were sent raw; with `segments`, what was measured of whole ones counts.
        """
        sent = (codings or Codings.raw(graph)).of_cut(cut)
        head_ms, tail_ms = (segments or SegmentTimes()).of_cut(cut, edge_ms, cloud_ms)
        return cls(
            edge_ms=head_ms + sent.encode_ms,
            payload_bytes=sent.payload_bytes,
            cloud_ms=tail_ms + sent.decode_ms,
        )

    def predict(self, cut: Cut, conditions: Conditions) -> Prediction:
        return conditions.predict(self.edge_ms, self.payload_bytes, self.cloud_ms, not cut.cloud_units)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to run from now on, whether that is a change, and why."""

    cut: Cut
    mode: Mode
    prediction: Prediction
    lower_bound_ms: float
    switched: bool
    reason: str
    cause: Cause = Cause.FASTER
    """Why, if it is a switch."""

    @property
    def sustainable_fps(self) -> float:
        """Frames per second that the cut can keep up, by its slowest stage."""
        return fps_of(self.prediction.bottleneck_ms)


def fps_of(bottleneck_ms: float) -> float:
    """Frames per second of a pipeline whose slowest stage takes `bottleneck_ms`."""
    return 1000.0 / bottleneck_ms if bottleneck_ms else math.inf


def decide(
    frontier: Frontier,
    conditions: Conditions,
    current: tuple[Cut, Costs] | None = None,
    min_gain: float = limits.SWITCH_GAIN,
) -> Decision:
    """Choose, and leave the current cut only for a gain of `min_gain`, or when it has become infeasible.

    A cut that betters the edge alone by no more than `limits.INDEPENDENCE` is not worth depending on the cloud for,
    and one that does not better it at all is left at once.
    What is kept runs in the mode of the best choice at this rate, whatever a higher one was looked at for.
    """
    choice = choose(frontier, conditions)
    if current is None or (current[0].cloud_units and current[0] != frontier.cut(choice.entry)):
        choice = _independent(frontier, conditions, choice)
    best = frontier.cut(choice.entry)
    best_says = describe(best, choice.mode, choice.prediction)
    if current is None:
        return _decision(choice, best, choice.prediction, True, f"first plan: {best_says}", Cause.FIRST)
    cut, costs = current
    present = costs.predict(cut, conditions)
    if best == cut:
        return _decision(choice, cut, choice.prediction, False, f"still the best: {best_says}")
    if math.isinf(present.link_ms):
        return _decision(
            choice, best, choice.prediction, True, f"no link to the cloud: {best_says}", Cause.LINK_GONE
        )
    needs_rate = choice.mode in (Mode.LIGHT, Mode.HEAVY)
    if needs_rate and present.bottleneck_ms > conditions.period_ms:
        reason = (
            f"{cut.label} sustains {fps_of(present.bottleneck_ms):.3g} of "
            f"{conditions.rate_fps:.3g} frames/s: {best_says}"
        )
        return _decision(choice, best, choice.prediction, True, reason, Cause.RATE)
    better = choice
    if needs_rate and choice.prediction.bottleneck_ms > (1 - limits.RATE_MARGIN) * conditions.period_ms:
        better = _with_room(frontier, conditions, choice)
        best = frontier.cut(better.entry)
        if best == cut or better.mode is Mode.OVERLOADED:
            reason = f"kept, the cuts that are better would only just keep {conditions.rate_fps:.3g} frames/s"
            return _decision(choice, cut, present, False, reason)
        best_says = describe(best, better.mode, better.prediction)
    gain = _gain(better, present)
    if gain >= (0.0 if cut.cloud_units and not best.cloud_units else min_gain):
        reason = f"{gain:.0%} better than {describe(cut, better.mode, present)}: {best_says}"
        return _decision(better, best, better.prediction, True, reason)
    reason = f"kept, {best.label} would gain only {max(gain, 0.0):.1%} (a switch needs {min_gain:.0%})"
    return _decision(choice, cut, present, False, reason)


def _independent(frontier: Frontier, conditions: Conditions, choice: Choice) -> Choice:
    """Prefer the edge alone to a cut that is hardly better: it needs no link, and no cloud that goes on answering."""
    entries = np.flatnonzero(frontier.edge_only)
    if not entries.size:
        return choice
    entry = int(entries[0])
    alone = conditions.predict(float(frontier.edge_ms[entry]), 0.0, 0.0, True)
    if choice.mode in (Mode.LIGHT, Mode.HEAVY):
        hardly_better = _saved(choice.prediction.latency_ms, alone.latency_ms) <= limits.INDEPENDENCE
        keeps_rate = alone.bottleneck_ms <= (1 - limits.RATE_MARGIN) * conditions.period_ms
    else:
        hardly_better = _saved(choice.prediction.bottleneck_ms, alone.bottleneck_ms) <= limits.INDEPENDENCE
        keeps_rate = True
    return replace(choice, entry=entry, prediction=alone) if hardly_better and keeps_rate else choice


def _with_room(frontier: Frontier, conditions: Conditions, choice: Choice) -> Choice:
    """Choose among the cuts that keep the rate with room to spare.

    A cut that only just keeps the rate is left again at the next noise, and would be taken again after it.
    """
    assert conditions.rate_fps is not None
    faster = replace(conditions, rate_fps=conditions.rate_fps / (1 - limits.RATE_MARGIN))
    return replace(choose(frontier, faster), lower_bound_ms=choice.lower_bound_ms)


def describe(cut: Cut, mode: Mode, prediction: Prediction) -> str:
    """Say what a cut is expected to do, in the measure that its mode optimises."""
    if mode in (Mode.LIGHT, Mode.HEAVY):
        return f"{cut.label} at {prediction.latency_ms:.0f} ms"
    return f"{cut.label} at {fps_of(prediction.bottleneck_ms):.3g} frames/s"


def _gain(choice: Choice, present: Prediction) -> float:
    """Share by which the choice betters `present`: in its objective, or on a tie there in the other measure."""
    latency = _saved(choice.prediction.latency_ms, present.latency_ms)
    if choice.mode in (Mode.LIGHT, Mode.HEAVY):
        return latency
    bottleneck = _saved(choice.prediction.bottleneck_ms, present.bottleneck_ms)
    tied = math.isclose(choice.prediction.bottleneck_ms, present.bottleneck_ms, rel_tol=1e-9)
    return latency if tied else bottleneck


def _saved(best_ms: float, present_ms: float) -> float:
    return 1.0 - best_ms / present_ms if present_ms else 0.0


def _decision(
    choice: Choice,
    cut: Cut,
    prediction: Prediction,
    switched: bool,
    reason: str,
    cause: Cause = Cause.FASTER,
) -> Decision:
    return Decision(
        cut=cut,
        mode=choice.mode,
        prediction=prediction,
        lower_bound_ms=choice.lower_bound_ms,
        switched=switched,
        reason=reason,
        cause=cause,
    )
