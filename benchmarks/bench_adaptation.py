"""What a step of the bandwidth does to a stream of frames: how soon the right plan runs, and what it costs.

link     50 Mbit/s │ 4 Mbit/s │ 50 │ 4 │ 50        each phase as long as the one before
frames   ─┬─┬─┬─┬─┬┼┬─┬─┬─┬─┬─┼─┬─ …               at a modest rate, never paused
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from benchmarks.bench_bed import Bed, Pair, Record
from benchmarks.bench_candidates import period_ms
from benchmarks.bench_link import BenchLink, carried_bps
from benchmarks.bench_rows import AdaptationRow
from benchmarks.bench_settle import settle
from benchmarks.bench_store import RowFile, Settings
from benchmarks.pair import Edge
from common.partition.decide import Conditions
from common.quantities import format_bandwidth

MODELS = ("resnet18", "resnet50", "vgg16")
WALK_BPS = (50e6, 4e6, 50e6, 4e6, 50e6)
STEADY_SHARE = 1 / 3
"""The phase's last part, whose plan is the right one and whose median is the steady one."""


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
                await settle(bed, edge, await carried_bps(bed.link), effort.interval_s)
                for row in await self._walk(edge, walk_bps, period):
                    rows.add(row)

    async def _walk(self, edge: Edge, walk_bps: Sequence[float], period: float) -> list[AdaptationRow]:
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
        records = edge.records()[before:]
        plans = plans_of(edge.logged("plan"))
        return [
            row_of(bed.pair.model, step, effort.interval_s, records, plans, names, last=step is steps[-1])
            for step in steps
        ]


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


def answered_at(record: Record) -> float:
    return datetime.fromisoformat(record["answered_at"]).timestamp()


def row_of(
    model: str,
    step: Step,
    interval_s: float,
    records: Sequence[Record],
    plans: Sequence[Planned],
    names: Sequence[str],
    *,
    last: bool,
) -> AdaptationRow:
    """Judge one step by the records of the whole walk. Lost and doubled frames are counted at the last step."""
    here = [r for r in records if step.at < answered_at(r) <= step.until and not r["error"]]
    part_s = STEADY_SHARE * (step.until - step.at)
    steady = [r for r in here if answered_at(r) > step.until - part_s]
    before = [r for r in records if step.at - part_s < answered_at(r) <= step.at and not r["error"]]
    in_flight = [r for r in here if answered_at(r) - r["ms"]["total"] / 1e3 < step.at]
    cut_after = Counter(r["plan"]["cut"] for r in steady).most_common(1)[0][0]
    count = Counter(r["name"] for r in records)
    return AdaptationRow(
        model=model,
        step=step.number,
        from_bps=step.from_bps,
        to_bps=step.to_bps,
        interval_s=interval_s,
        cut_before=cut_at(plans, step.at),
        cut_after=cut_after,
        planned_s=seconds_to(plans, cut_after, step),
        frames=len(here),
        lost=sum(count[name] == 0 for name in names) if last else 0,
        duplicated=sum(count[name] > 1 for name in names) if last else 0,
        failed=sum(step.at < answered_at(r) <= step.until and bool(r["error"]) for r in records),
        in_flight_ms=sum(r["bytes_up"] * 8e3 / step.to_bps for r in in_flight),
        worst_ms=max(r["ms"]["total"] for r in here),
        steady_before_ms=statistics.median(r["ms"]["total"] for r in before),
        steady_ms=statistics.median(r["ms"]["total"] for r in steady),
    )


def cut_at(plans: Sequence[Planned], moment: float) -> str:
    """Return the cut in force at a moment."""
    return next((plan.cut for plan in reversed(plans) if plan.at <= moment), "none")


def seconds_to(plans: Sequence[Planned], cut: str, step: Step) -> float | None:
    """Return the seconds from a step until `cut` came into force; 0 if it was, none if it did not in this phase."""
    if cut_at(plans, step.at) == cut:
        return 0.0
    during = (plan.at for plan in plans if step.at < plan.at <= step.until and plan.cut == cut)
    return next((at - step.at for at in during), None)
