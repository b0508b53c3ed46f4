"""Which static cuts are worth measuring at a point, and how often frames may come there. Pure."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.bench_rows import CLOUD_ONLY, EDGE_ONLY
from common.partition.decide import Conditions
from common.partition.frontier import Frontier
from common.plan import Prediction

SPARE = 1.5
"""The time between frames over the slowest stage of the best cut: at this load the pair plans for latency, also on
a day when the devices are a third slower."""
FAR_BY_LOT = 3.0
"""A cut that is predicted to take this many times as long as the best one is not drawn: minutes for nothing."""
SHARED = 2.0
"""Links whose periods differ by no more than this factor share one."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A cut of the frontier with its profiled costs."""

    label: str
    edge_ms: float
    payload_bytes: float
    cloud_ms: float

    def predict(self, conditions: Conditions) -> Prediction:
        return conditions.predict(
            self.edge_ms, self.payload_bytes, self.cloud_ms, edge_only=self.label == EDGE_ONLY
        )


def candidates_of(frontier: Frontier) -> list[Candidate]:
    """Return all cuts of a frontier."""
    costs = zip(frontier.edge_ms, frontier.payload_bytes, frontier.cloud_ms, strict=True)
    return [
        Candidate(frontier.cut(entry).label, float(edge), float(size), float(cloud))
        for entry, (edge, size, cloud) in enumerate(costs)
    ]


def select(
    candidates: Sequence[Candidate],
    conditions: Conditions,
    *,
    within: float,
    most: int,
    always: str | None = None,
    any_of: Sequence[str] = (),
    by_lot: int = 0,
) -> list[Candidate]:
    """Return the two ends, the cut called `always`, and the other cuts that may turn out to be the best one.

    These are the cuts predicted within the factor `within` of the best prediction, the `most` best of them; and
    `by_lot` of those called `any_of`, unless they take `FAR_BY_LOT` times the best: predictions are held to account
    where they choose nothing, too. The same ones each time.
    """

    def predicted_ms(candidate: Candidate) -> float:
        return candidate.predict(conditions).latency_ms

    wanted = [c for c in candidates if c.label in (EDGE_ONLY, CLOUD_ONLY, always)]
    between = sorted((c for c in candidates if c not in wanted), key=predicted_ms)
    best_ms = min(map(predicted_ms, candidates))
    near = [c for c in between if predicted_ms(c) <= within * best_ms]
    chosen = [*wanted, *near[:most]]
    rest = [
        c
        for c in between
        if c not in chosen and c.label in any_of and predicted_ms(c) <= FAR_BY_LOT * best_ms
    ]
    drawn = random.Random(len(candidates)).sample(rest, min(by_lot, len(rest)))
    return sorted([*chosen, *drawn], key=predicted_ms)


def period_ms(candidates: Sequence[Candidate], conditions: Conditions) -> float:
    """Return the time between frames at which the cut of least latency has `SPARE` times what it needs."""
    best = min((c.predict(conditions) for c in candidates), key=lambda prediction: prediction.latency_ms)
    return SPARE * best.bottleneck_ms


def share_periods(periods_ms: Mapping[float, float]) -> list[tuple[float, tuple[float, ...]]]:
    """Group links, by their rates and periods, into runs that share the longest period in them.

    An edge's sampling rate is fixed when it starts; so each group is one start.
    """
    groups: list[tuple[float, tuple[float, ...]]] = []
    for rate_bps, period in sorted(periods_ms.items()):
        if groups:
            longest, rates = groups[-1]
            least = min(periods_ms[rate] for rate in rates)
            if max(longest, period) <= SHARED * min(least, period):
                groups[-1] = (max(longest, period), (*rates, rate_bps))
                continue
        groups.append((period, (rate_bps,)))
    return groups
