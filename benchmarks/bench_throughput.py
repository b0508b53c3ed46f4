"""How near the saturated pair comes to what its slowest stage allows: cuts bound by edge, link and cloud."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from benchmarks.bench_bars import ROUNDS, STAGES
from benchmarks.bench_bed import Bed, Pair, PinnedEdge, Record
from benchmarks.bench_candidates import Candidate
from benchmarks.bench_link import BenchLink, carried_bps
from benchmarks.bench_rows import EDGE_ONLY, ThroughputRow
from benchmarks.bench_store import RowFile, Settings
from common.partition.decide import Conditions
from common.plan import Prediction
from common.quantities import format_bandwidth

RATES_BPS = (8e6, 50e6, 500e6)
CLEARLY = 2.5
"""A cut is bound by a stage that is predicted to take this many times as long as the next one. More is no better."""
IN_FLIGHT = 4
FILL = 4
"""Frames that fill the pipeline are not counted."""
TCP_SHARE = 0.957
"""Of an Ethernet link's rate, what is left for payload: plans are made for that, and it is measured later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How thoroughly each cut is measured."""

    rounds: int = ROUNDS["throughput"]
    seconds: float = 5.0
    """That a round's counted frames are meant to take …"""
    least_frames: int = 8
    """… but so many at least."""

    def settings(self, pair: Pair, link: BenchLink) -> Settings:
        return {**asdict(pair), **asdict(self), "link": link.kind}


@dataclass(frozen=True, slots=True)
class Case:
    """A cut on a link, and the stage that is expected to bound it."""

    rate_bps: float
    bound_by: str
    candidate: Candidate
    bottleneck_ms: float

    @property
    def key(self) -> str:
        return f"{self.bound_by} {self.rate_bps:.0f}"


def choose_cases(candidates: Sequence[Candidate], rates_bps: Sequence[float]) -> list[Case]:
    """Return for each stage the cut and the link that it bounds most clearly; of equals the fastest.

    A stage that bounds no cut on any of the links is left out. Edge-only is no case: nothing overlaps there.
    """
    cases = []
    for stage in STAGES:
        found: list[tuple[float, float, Case]] = []
        for rate in rates_bps:
            conditions = Conditions(bandwidth_bps=rate * TCP_SHARE)
            for candidate in candidates:
                prediction = candidate.predict(conditions)
                dominance = dominance_of(stage, prediction)
                if candidate.label != EDGE_ONLY and dominance > 1:
                    case = Case(rate, stage, candidate, prediction.bottleneck_ms)
                    found.append((min(dominance, CLEARLY), -prediction.bottleneck_ms, case))
        if found:
            cases.append(max(found, key=lambda entry: entry[:2])[2])
    return cases


def dominance_of(stage: str, prediction: Prediction) -> float:
    """Return how many times as long as the slowest of the others `stage` takes."""
    times = {"edge": prediction.edge_ms, "link": prediction.link_ms, "cloud": prediction.cloud_ms}
    others = max(ms for name, ms in times.items() if name != stage)
    return times[stage] / others if others else float("inf")


@dataclass(frozen=True, slots=True)
class Round:
    """What one saturated round of frames tells."""

    fps: float
    head_ms: float
    tail_ms: float
    frame_bytes: float
    fallbacks: int


def round_of(records: Sequence[Record]) -> Round:
    """Sum up a round's records, in the order of answering. The rate is from the last that filled to the last."""
    counted = records[FILL:]
    ended = [datetime.fromisoformat(r["answered_at"]).timestamp() for r in records[FILL - 1 :]]
    ended.sort()

    def median(*stages: str) -> float:
        return statistics.median(sum(r["ms"][stage] or 0.0 for stage in stages) for r in counted)

    return Round(
        fps=(len(ended) - 1) / (ended[-1] - ended[0]),
        head_ms=median("head", "encode"),
        tail_ms=median("tail"),
        frame_bytes=statistics.fmean(r["bytes_up"] for r in counted),
        fallbacks=sum("fallback" in r or bool(r["error"]) for r in counted),
    )


class Throughput:
    """One model's cases."""

    def __init__(self, bed: Bed, effort: Effort, say: Callable[[str], None]) -> None:
        self._bed = bed
        self._effort = effort
        self._say = say

    async def run(self, rates_bps: Sequence[float], rows: RowFile[ThroughputRow]) -> None:
        """Measure the cases that `rows` has not."""
        if len(rows.rows) >= len(STAGES):
            return
        bed = self._bed
        async with bed.cloud() as cloud:
            await cloud.listening(timeout_s=300)
            self._say("executors and profiles")
            known = await bed.know(cloud)
            pinned = bed.pinned("saturated", CLEAVE_EDGE_IN_FLIGHT=IN_FLIGHT)
            async with pinned.edge:
                for case in choose_cases(known.candidates, rates_bps):
                    if case.key not in rows:
                        rows.add(await self._case(case, pinned))

    async def _case(self, case: Case, pinned: PinnedEdge) -> ThroughputRow:
        bed, effort = self._bed, self._effort
        bed.link.set_rate(case.rate_bps)
        count = max(effort.least_frames, round(effort.seconds * 1e3 / case.bottleneck_ms))
        found: list[Round] = []
        carried: list[float] = []
        await pinned.use(case.candidate.label)
        for _ in range(effort.rounds):
            carried.append(await carried_bps(bed.link))
            found.append(round_of(await bed.run(pinned.edge, FILL + count)))
        row = ThroughputRow(
            model=bed.pair.model,
            rate_bps=case.rate_bps,
            cut=case.candidate.label,
            bound_by=case.bound_by,
            fps=tuple(r.fps for r in found),
            head_ms=tuple(r.head_ms for r in found),
            link_ms=tuple(r.frame_bytes * 8e3 / bps for r, bps in zip(found, carried, strict=True)),
            tail_ms=tuple(r.tail_ms for r in found),
            bytes_per_s=tuple(r.fps * r.frame_bytes for r in found),
            carried_bps=tuple(carried),
            fallbacks=sum(r.fallbacks for r in found),
        )
        self._say(
            f"{format_bandwidth(case.rate_bps)}, {row.cut}, bound by {row.bound_by}: "
            f"{statistics.median(row.fps):.2f} frames/s, {row.of_bottleneck:.3f} of the bottleneck"
        )
        return row
