"""What a step of the bandwidth does to a stream of frames: how soon the right plan runs, and what it costs.

link     50 Mbit/s │ 4 Mbit/s │ 50 │ 4 │ 50        each phase as long as the one before
frames   ─┬─┬─┬─┬─┬┼┬─┬─┬─┬─┬─┼─┬─ …               at a modest rate, never paused
"""

from __future__ import annotations

import asyncio
import math
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from benchmarks.bench_bed import Bed, Pair, Record
from benchmarks.bench_candidates import Candidate, period_ms
from benchmarks.bench_link import BenchLink, carried_bps
from benchmarks.bench_rows import AdaptationRow
from benchmarks.bench_settle import settle
from benchmarks.bench_store import RowFile, Settings
from benchmarks.bench_visits import NEVER_MS, answered_at, latency_ms
from benchmarks.pair import Edge
from common.partition.decide import Conditions
from common.quantities import format_bandwidth

STEADY_SHARE = 1 / 3
"""The phase's last part, whose plan is judged and whose median is the steady one."""
RIGHT_WITHIN = 1.15
"""A plan is right if the profiles predict it to take no more than this many times the best at the true rate. The
edge knows more than they tell (segments as wholes, drift): what is within this of each other they cannot order."""


NO_CUT = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """The stream and its phases."""

    interval_s: float = 5.0
    """Of the edge's looks at link and load: its default."""
    phase_s: float = 25.0
    least_frames: int = 30

    def settings(self, pair: Pair, link: BenchLink) -> Settings:
        return {**asdict(pair), **asdict(self), "link": link.kind}


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the bandwidth, and the phase from it to the next, in Unix seconds."""

    number: int
    from_bps: float
    to_bps: float
    at: float
    until: float


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan that came into force."""

    at: float
    cut: str


@dataclass(frozen=True, slots=True)
class Walked:
    """What a whole walk left: its records, the plans in the order they came into force, the frames' names."""

    records: Sequence[Record]
    plans: Sequence[Planned]
    names: Sequence[str]
    steps: Sequence[Step]


class Adaptation:
    """One model's walk."""

    def __init__(self, bed: Bed, effort: Effort, say: Callable[[str], None]) -> None:
        self._bed = bed
        self._effort = effort
        self._say = say

    async def run(self, walk_bps: Sequence[float], rows: RowFile[AdaptationRow]) -> None:
        """Walk, unless `rows` has all steps: a walk is one stream, and not gone on with."""
        if len(rows.rows) >= len(walk_bps) - 1:
            return
        bed, effort = self._bed, self._effort
        async with bed.cloud() as cloud:
            await cloud.listening(timeout_s=300)
            self._say("executors and profiles")
            known = await bed.know(cloud)
            period = max(period_ms(known.candidates, Conditions(bandwidth_bps=bps)) for bps in walk_bps)
            bed.link.set_rate(walk_bps[0])
            edge = bed.adaptive(
                CLEAVE_EDGE_SAMPLING_FPS=1e3 / period,
                CLEAVE_EDGE_REPLAN_INTERVAL_S=effort.interval_s,
            )
            async with edge:
                await bed.run(edge, 1)
                await edge.planned(timeout_s=120)
                await edge.measured(timeout_s=300)
                await settle(bed, edge, await carried_bps(bed.link), effort.interval_s)
                walked = await self._walk(edge, walk_bps, period)
                for step in walked.steps:
                    rows.add(row_of(bed.pair.model, step, effort.interval_s, walked, known.candidates))

    async def _walk(self, edge: Edge, walk_bps: Sequence[float], period: float) -> Walked:
        """Offer the frames of all phases at once, and step the link while they run."""
        bed, effort = self._bed, self._effort
        frames = max(effort.least_frames, round(effort.phase_s * 1e3 / period))
        phase_s = frames * period / 1e3
        before = len(edge.records())
        self._say(f"{frames} frames in each of {len(walk_bps)} phases of {phase_s:.0f} s")
        names = [path.name for path in bed.offer(edge, frames * len(walk_bps))]
        steps: list[Step] = []
        begun = time.time()
        for number, (old, new) in enumerate(pairwise(walk_bps), start=1):
            await asyncio.sleep(max(0.0, begun + number * phase_s - time.time()))
            bed.link.set_rate(new)
            at = time.time()
            steps.append(Step(number, old, new, at, at + phase_s))
            self._say(f"{format_bandwidth(old)} → {format_bandwidth(new)}")
        # A frame that is lost has no record: the daemon is given the time, then what is missing is missing.
        await asyncio.sleep(max(0.0, steps[-1].until - time.time()))
        await _all_or_silence(edge, before + len(names))
        return Walked(edge.records()[before:], plans_of(edge.logged("plan")), names, steps)


async def _all_or_silence(edge: Edge, count: int, patience_s: float = 15.0) -> None:
    """Wait for so many records, or until none has come for `patience_s`."""
    have, changed = -1, time.monotonic()
    while have < count and time.monotonic() - changed < patience_s:
        now = len(edge.records())
        if now != have:
            have, changed = now, time.monotonic()
        await asyncio.sleep(0.1)


def plans_of(logged: Sequence[dict[str, Any]]) -> list[Planned]:
    return [Planned(datetime.fromisoformat(e["timestamp"]).timestamp(), e["cut"]) for e in logged]


def row_of(
    model: str, step: Step, interval_s: float, walked: Walked, candidates: Sequence[Candidate]
) -> AdaptationRow:
    """Judge one step. What was lost or doubled in the whole walk counts at its last step.

    A phase without an answer is the worst there is, and no error: a row that would fail is a row.
    """
    first, last = step is walked.steps[0], step is walked.steps[-1]
    since, until = (-math.inf if first else step.at), (math.inf if last else step.until)
    answers = [(answered_at(record), record) for record in walked.records if not record["error"]]
    here = [record for at, record in answers if step.at < at <= until]
    part_s = STEADY_SHARE * (step.until - step.at)
    steady = [record for at, record in answers if step.until - part_s < at <= until]
    before = [record for at, record in answers if step.at - part_s < at <= step.at]
    in_flight = [r for at, r in answers if at - latency_ms(r) / 1e3 < step.at < at <= until]
    cut_after = Counter(r["plan"]["cut"] for r in steady).most_common(1)[0][0] if steady else NO_CUT
    of_best = times_the_best(cut_after, candidates, step.to_bps)
    count = Counter(record["name"] for record in walked.records)
    return AdaptationRow(
        model=model,
        step=step.number,
        from_bps=step.from_bps,
        to_bps=step.to_bps,
        interval_s=interval_s,
        cut_before=cut_at(walked.plans, step.at),
        cut_after=cut_after,
        of_best=of_best,
        planned_s=seconds_to(walked.plans, cut_after, step) if of_best <= RIGHT_WITHIN else None,
        frames=len(here),
        lost=sum(count[name] == 0 for name in walked.names) if last else 0,
        duplicated=sum(count[name] > 1 for name in walked.names) if last else 0,
        failed=sum(since < answered_at(r) <= until and bool(r["error"]) for r in walked.records),
        in_flight_ms=sum(record["bytes_up"] * 8e3 / step.to_bps for record in in_flight),
        worst_ms=max(map(latency_ms, here), default=NEVER_MS),
        steady_before_ms=_median(before),
        steady_ms=_median(steady),
    )


def _median(records: Sequence[Record]) -> float:
    """Return the records' median latency in ms; 0, which allows no other frame anything, where there are none."""
    return statistics.median(map(latency_ms, records)) if records else 0.0


def times_the_best(cut: str, candidates: Sequence[Candidate], bandwidth_bps: float) -> float:
    """Return how many times as long as the best cut's a cut's latency is predicted to be on a link of that rate."""
    conditions = Conditions(bandwidth_bps=bandwidth_bps)
    predicted = {candidate.label: candidate.predict(conditions).latency_ms for candidate in candidates}
    return predicted.get(cut, NEVER_MS) / min(predicted.values())


def cut_at(plans: Sequence[Planned], moment: float) -> str:
    """Return the cut in force at a moment."""
    return next((plan.cut for plan in reversed(plans) if plan.at <= moment), NO_CUT)


def seconds_to(plans: Sequence[Planned], cut: str, step: Step) -> float | None:
    """Return the seconds from a step until `cut` came into force to stay for the phase.

    0 if it was in force and stayed; none if it did not come, or went again.
    """
    in_force = [Planned(step.at, cut_at(plans, step.at))]
    in_force += [plan for plan in plans if step.at < plan.at <= step.until]
    came_at: float | None = None
    for plan in in_force:
        if plan.cut != cut:
            came_at = None
        elif came_at is None:
            came_at = plan.at
    return None if came_at is None else came_at - step.at
