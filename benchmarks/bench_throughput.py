"""How near the saturated pair comes to what its slowest stage allows: cuts bound by edge, link and cloud."""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial

from benchmarks.bench_bars import ROUNDS, STAGES
from benchmarks.bench_bed import Bed, Pair, PinnedEdge, Record
from benchmarks.bench_candidates import Candidate
from benchmarks.bench_link import BenchLink, carried_bps
from benchmarks.bench_rows import EDGE_ONLY, ThroughputRow, fallen, ratio
from benchmarks.bench_store import RowFile, Settings
from benchmarks.bench_visits import NEVER_MS, answered_at
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
READINGS = 3
"""Of the link before a round, at most."""
CREDIBLE = 0.9
"""A reading below this share of the payload rate is taken again: something held iperf3 up, and not the link."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How thoroughly each cut is measured."""

    rounds: int = ROUNDS["throughput"]
    seconds: float = 5.0
    """That a round's counted frames are meant to take …"""
    least_frames: int = 8
    """… but so many at least."""
    batch_max: int = 1
    """Frames that the cloud runs together: a tail's time is that of a frame alone, and allows no more."""

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
    """Sum up a round's records, in the order of answering. The rate is from the last that filled to the last.

    It is the rate of frames that went the whole way: one that failed or finished on the edge took no tail's time.
    """
    ended = sorted(map(answered_at, records[FILL - 1 :]))
    counted = records[FILL:]
    whole = [record for record in counted if "fallback" not in record and not record["error"]]
    if not whole:
        return Round(fps=0.0, head_ms=0.0, tail_ms=0.0, frame_bytes=0.0, fallbacks=len(counted))

    def median(*stages: str) -> float:
        return statistics.median(sum(r["ms"][stage] or 0.0 for stage in stages) for r in whole)

    return Round(
        fps=ratio(len(whole), ended[-1] - ended[0], without=0.0),
        head_ms=median("head", "encode"),
        tail_ms=median("tail"),
        frame_bytes=statistics.fmean(r["bytes_up"] for r in whole),
        fallbacks=len(counted) - len(whole),
    )


async def credible_bps(read: Callable[[], Awaitable[float]], rate_bps: float) -> float:
    """Read what a link of that rate carries, again while the reading is too low to be true; return the highest."""
    highest = 0.0
    for _ in range(READINGS):
        highest = max(highest, await read())
        if highest >= CREDIBLE * TCP_SHARE * rate_bps:
            break
    return highest


class Throughput:
    """One model's cases."""

    def __init__(self, bed: Bed, effort: Effort, say: Callable[[str], None]) -> None:
        self._bed = bed
        self._effort = effort
        self._say = say

    async def run(self, rates_bps: Sequence[float], rows: RowFile[ThroughputRow]) -> None:
        """Measure the stages' cases on these links that `rows` has not."""
        done = {row.bound_by for row in rows.rows if row.rate_bps in rates_bps}
        if done >= set(STAGES):
            return
        bed = self._bed
        async with bed.cloud(CLEAVE_CLOUD_BATCH_MAX=self._effort.batch_max) as cloud:
            await cloud.listening(timeout_s=300)
            self._say("executors and profiles")
            known = await bed.know(cloud)
            pinned = bed.pinned("saturated", CLEAVE_EDGE_IN_FLIGHT=IN_FLIGHT)
            async with pinned.edge:
                for case in choose_cases(known.candidates, rates_bps):
                    if case.bound_by not in done:
                        rows.add(await self._case(case, pinned))

    async def _case(self, case: Case, pinned: PinnedEdge) -> ThroughputRow:
        bed, effort = self._bed, self._effort
        bed.link.set_rate(case.rate_bps)
        count = max(effort.least_frames, round(effort.seconds * 1e3 / case.bottleneck_ms))
        found: list[Round] = []
        carried: list[float] = []
        await pinned.use(case.candidate.label)
        for _ in range(effort.rounds):
            carried.append(await credible_bps(partial(carried_bps, bed.link), case.rate_bps))
            found.append(round_of(await bed.run(pinned.edge, FILL + count)))
        row = ThroughputRow(
            model=bed.pair.model,
            rate_bps=case.rate_bps,
            cut=case.candidate.label,
            bound_by=case.bound_by,
            fps=tuple(r.fps for r in found),
            head_ms=tuple(r.head_ms for r in found),
            link_ms=tuple(
                ratio(r.frame_bytes * 8e3, bps, without=NEVER_MS)
                for r, bps in zip(found, carried, strict=True)
            ),
            tail_ms=tuple(r.tail_ms for r in found),
            bytes_per_s=tuple(r.fps * r.frame_bytes for r in found),
            carried_bps=tuple(carried),
            fallbacks=sum(r.fallbacks for r in found),
        )
        self._say(
            f"{format_bandwidth(case.rate_bps)}, {row.cut}, bound by {row.bound_by}: "
            f"{statistics.median(row.fps):.2f} frames/s, {row.of_bottleneck:.3f} of the bottleneck"
            + fallen(row.fallbacks)
        )
        return row
