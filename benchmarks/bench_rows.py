"""What `make bench` measures, row by row, and what follows from a row by arithmetic alone. Times in ms."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

MODELS = ("mobilenet_v2", "resnet18", "resnet50", "googlenet", "inception_v3", "vgg16")
RATES_BPS = (1e6, 4e6, 8e6, 20e6, 50e6, 100e6, 500e6)
"""The points that the bars are about: each model on each link."""
EDGE_ONLY, CLOUD_ONLY = "edge-only", "cloud-only"

MOST_OF_IPERF = 1.05
"""Nothing moves more on a link than it carries: whoever seems to was compared with a reading that is too low."""

Floats = tuple[float, ...]


def ratio(part: float, whole: float, *, without: float = math.inf) -> float:
    """Return `part / whole`; where there is no whole, `without`, which should be what meets no bar."""
    return part / whole if whole > 0 else without


def fallen(frames: int) -> str:
    """Say behind something else how many frames failed or finished on the edge, if any did."""
    return (
        f", {frames} {'frame' if frames == 1 else 'frames'} failed or finished on the edge" if frames else ""
    )


@dataclass(frozen=True, slots=True)
class Spread:
    """A median with its quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Floats) -> Spread:
        """Sum up values, at least one."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)


@dataclass(frozen=True, slots=True)
class Series:
    """One contender's frames: a tuple for each of its visits, in the order of rounds."""

    visits: tuple[Floats, ...]
    fallbacks: int = 0
    """Frames that the cloud let down and the edge finished; they are counted as they came."""

    @property
    def times(self) -> Floats:
        return tuple(ms for visit in self.visits for ms in visit)

    @property
    def spread(self) -> Spread:
        return Spread.of(self.times)

    @property
    def median(self) -> float:
        return self.spread.median


@dataclass(frozen=True, slots=True)
class StageTimes:
    """What a frame takes where, in ms: at the edge, on the link, at the cloud; and what else, the round trip say."""

    edge_ms: float
    link_ms: float
    cloud_ms: float
    extra_ms: float

    def latency_ms(self, edge_scale: float, cloud_scale: float) -> float:
        """Return what it takes on devices that take so many times as long."""
        return self.edge_ms * edge_scale + self.link_ms + self.cloud_ms * cloud_scale + self.extra_ms


@dataclass(frozen=True, slots=True)
class CutTimes:
    """A static cut at one point: its frames, and the prediction of each visit.

    A prediction is what the adaptive edge's status said of the cut before the first visit, on devices of the speed
    that the two ends showed in the same round. There is none for a cut that the status did not tell of.
    """

    label: str
    frames: Series
    predicted: Floats
    told: StageTimes | None = None
    """What the prediction is made of, before the devices' speed in each round."""
    seen: StageTimes | None = None
    """What the frames showed, the median of each stage: where a prediction is wrong."""

    @property
    def prediction_error(self) -> float | None:
        """The prediction's error as a share of what was measured, positive when it said too much."""
        if not self.predicted:
            return None
        return ratio(statistics.median(self.predicted), self.frames.median) - 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RegretRow:
    """One model on one link: the adaptive pair beside every static cut that came into question."""

    model: str
    rate_bps: float
    carried_bps: float
    """What iperf3 measured on the link."""
    estimated_bps: float
    """What the adaptive edge took it for."""
    settled_s: float | None
    """From the link's change until the plan stayed; none if it did not within the time allowed."""
    period_ms: float
    """Between two frames, for every contender."""
    adaptive: Series
    adaptive_cuts: tuple[str, ...]
    """The cuts that its frames ran under, the most frequent first."""
    cuts: tuple[CutTimes, ...]
    frontier_cuts: int
    plain: Series
    http: Series

    @property
    def key(self) -> str:
        return f"{self.rate_bps:.0f}"

    def cut(self, label: str) -> CutTimes:
        return next(cut for cut in self.cuts if cut.label == label)

    @property
    def best(self) -> CutTimes:
        """The best static cut, found out afterwards: the oracle."""
        return min(self.cuts, key=lambda cut: cut.frames.median)

    @property
    def better_end_ms(self) -> float:
        return min(self.cut(EDGE_ONLY).frames.median, self.cut(CLOUD_ONLY).frames.median)

    @property
    def regret(self) -> float:
        """The adaptive pair's median over the best static cut's."""
        return ratio(self.adaptive.median, self.best.frames.median)

    @property
    def paired_regret(self) -> float:
        """The same, compared round by round: a machine that slows down meets both alike."""
        if len(self.adaptive.visits) != len(self.best.frames.visits):  # an end that skipped rounds
            return self.regret
        pairs = zip(self.adaptive.visits, self.best.frames.visits, strict=True)
        return statistics.median(ratio(statistics.median(a), statistics.median(b)) for a, b in pairs)

    @property
    def against_ends(self) -> float:
        return ratio(self.adaptive.median, self.better_end_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class ThroughputRow:
    """One cut saturated, four frames in flight: its rate beside its slowest stage, round by round."""

    model: str
    rate_bps: float
    cut: str
    bound_by: str
    """`edge`, `link` or `cloud`: the stage that was predicted to be the slowest."""
    fps: Floats
    head_ms: Floats
    """Of each round, the median: head and encoding."""
    link_ms: Floats
    """A frame's bytes at the bandwidth that iperf3 measured in the round."""
    tail_ms: Floats
    bytes_per_s: Floats
    """Payload that went up, saturated."""
    carried_bps: Floats
    """What iperf3 measured in the round."""
    fallbacks: int
    """Frames that failed or finished on the edge, which are none of the rate's."""

    @property
    def key(self) -> str:
        return f"{self.bound_by} {self.rate_bps:.0f}"

    @property
    def bottleneck_ms(self) -> float:
        return max(statistics.median(stage) for stage in (self.head_ms, self.link_ms, self.tail_ms))

    @property
    def slowest_stage(self) -> str:
        stages = {"edge": self.head_ms, "link": self.link_ms, "cloud": self.tail_ms}
        return max(stages, key=lambda name: statistics.median(stages[name]))

    @property
    def of_bottleneck(self) -> float:
        """The rate as a share of what the slowest stage allows, the median of the rounds."""
        stages = zip(self.fps, self.head_ms, self.link_ms, self.tail_ms, strict=True)
        return statistics.median(fps * max(times) / 1e3 for fps, *times in stages)

    @property
    def of_iperf(self) -> float:
        """Payload bytes moved as a share of what iperf3 moved, the median of the rounds."""
        pairs = zip(self.bytes_per_s, self.carried_bps, strict=True)
        return statistics.median(ratio(b * 8, c) for b, c in pairs)

    @property
    def misread(self) -> bool:
        """Whether iperf3 read less than the link carries, so that nothing was measured."""
        return self.of_iperf > MOST_OF_IPERF


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptationRow:
    """One step of the bandwidth under a stream of frames. Seconds are from the step."""

    model: str
    step: int
    from_bps: float
    to_bps: float
    interval_s: float
    cut_before: str
    cut_after: str
    """That which ran at the end of the phase."""
    of_best: float
    """What it is predicted to take at the new rate, as a multiple of the best cut's."""
    planned_s: float | None
    """Until the plan that stayed was in force, if it is a right one; 0 if it was already, none if there was none."""
    frames: int
    lost: int
    duplicated: int
    failed: int
    in_flight_ms: float
    """What the bytes of the frames that were in flight at the step take on the new link."""
    worst_ms: float
    steady_before_ms: float
    steady_ms: float
    """Median of the phase's last third, as of the phase before."""

    @property
    def key(self) -> str:
        return str(self.step)

    @property
    def allowed_ms(self) -> float:
        """The most that a frame may take: twice the new steady median, and what was in flight at the step.

        That is the bytes of those frames on the new link, or a frame as it was before the step, whichever is more.
        """
        return 2 * self.steady_ms + max(self.in_flight_ms, self.steady_before_ms)
