"""Is the pair ever worse than a cut that somebody fixed? Each model on each link, beside what it is compared with.

    link ← rate ─► iperf3 ─► frames until the adaptive edge's plan stays ─► rounds of visits ─► a row

At each point take turns: the adaptive pair, every static cut that was predicted within `WITHIN` of the best one
(the oracle), edge-only and cloud-only always, a plain torchvision edge, and the JPEG posted to an HTTP server.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.bench_bars import ROUNDS
from benchmarks.bench_bed import Bed, Known, Pair, PinnedEdge
from benchmarks.bench_candidates import Candidate, period_ms, select, share_periods
from benchmarks.bench_link import BenchLink, carried_bps
from benchmarks.bench_rows import CLOUD_ONLY, EDGE_ONLY, CutTimes, RegretRow, Series, StageTimes
from benchmarks.bench_settle import probes, settle
from benchmarks.bench_store import RowFile, Settings
from benchmarks.bench_visits import (
    IDLE_WARM,
    Rounds,
    Visit,
    of_cut,
    of_edge,
    of_worker,
    uncertainty,
)
from benchmarks.bench_worker import Worker
from benchmarks.pair import Edge
from common.partition.decide import Conditions
from common.quantities import format_bandwidth

ADAPTIVE, PLAIN, HTTP = "adaptive", "plain edge", "HTTP upload"
SECOND_ROUND = 2
"""What no bar is about, and ends that are far behind, take part in every second round."""
FAR = 2.0
"""A cut is far behind when it is predicted to take this many times as long as the best cut."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How thoroughly each point is measured."""

    rounds: int = ROUNDS["regret"]
    slow_rounds: int = 3
    """Where frames come less often than one in `slow_ms`: minutes a point otherwise."""
    slow_ms: float = 1000.0
    most_rounds: float = 2.0
    """Times as many, where `uncertain` is exceeded."""
    uncertain: float = 0.02
    """How well the differences are to be known that the bars are about: their standard error."""
    frames: int = 2
    """Counted at each visit."""
    within: float = 1.5
    most_cuts: int = 5
    by_lot: int = 2
    """Cuts that the edge tells of and that are out of the question: to hold its predictions to account."""
    interval_s: float = 5.0
    """Of the adaptive edge's looks at link and load: the daemon's own default. It measures the link as often."""

    def rounds_at(self, period: float) -> int:
        """Return how many rounds a point has whose frames come `period` ms after each other."""
        return min(self.rounds, self.slow_rounds) if period > self.slow_ms else self.rounds

    def is_open(self, visits: Sequence[Visit], cuts: Sequence[str]) -> bool:
        """Say whether it is open how far the adaptive edge is from the best static cut, or the better end."""

        def best_of(names: Iterable[str]) -> str:
            return min(
                names,
                key=lambda name: statistics.median(
                    ms for visit in visits if visit.contender == name for ms in visit.latency_ms
                ),
            )

        compared = {best_of(cuts), best_of((EDGE_ONLY, CLOUD_ONLY))}
        return any(uncertainty(visits, ADAPTIVE, name) > self.uncertain for name in compared)

    def settings(self, pair: Pair, link: BenchLink) -> Settings:
        return {
            **asdict(pair),
            **asdict(self),
            "frames of a round": "its own",
            "warm": IDLE_WARM,
            "link": link.kind,
        }


@dataclass(frozen=True, slots=True)
class Baselines:
    """The processes without us."""

    plain: Worker
    http: Worker


class Regret:
    """One model's points. `say` is told what happens now."""

    def __init__(self, bed: Bed, effort: Effort, say: Say) -> None:
        self._bed = bed
        self._effort = effort
        self._say = say

    async def run(self, rates_bps: Sequence[float], rows: RowFile[RegretRow]) -> None:
        """Measure the points that `rows` has not, adding each as soon as it is there."""
        todo = [rate for rate in rates_bps if f"{rate:.0f}" not in rows]
        if not todo:
            return
        bed = self._bed
        async with AsyncExitStack() as stack:
            cloud = await stack.enter_async_context(bed.cloud())
            await cloud.listening(timeout_s=300)
            self._say("executors and profiles")
            known = await bed.know(cloud)
            baselines = await self._baselines(stack)
            periods = {rate: period_ms(known.candidates, Conditions(bandwidth_bps=rate)) for rate in todo}
            for period, rates in share_periods(periods):
                await self._group(period, rates, known, baselines, rows)

    async def _baselines(self, stack: AsyncExitStack) -> Baselines:
        link, pair = self._bed.link, self._bed.pair
        module = "benchmarks.http_baseline"
        port = str(link.ports.http)
        server = Worker(
            module, ["server", link.listen_host, port, pair.model, pair.weights], link.cloud_prefix
        )
        client = Worker(module, ["client", link.cloud_host, port], link.edge_prefix)
        plain = Worker(
            "benchmarks.plain_classifier",
            [pair.model, pair.weights, str(pair.slowdown)],
            link.edge_prefix,
        )
        await stack.enter_async_context(server)
        return Baselines(await stack.enter_async_context(plain), await stack.enter_async_context(client))

    async def _group(
        self,
        period: float,
        rates_bps: Sequence[float],
        known: Known,
        baselines: Baselines,
        rows: RowFile[RegretRow],
    ) -> None:
        """Measure the points of links that share a period between frames."""
        bed, fps = self._bed, 1e3 / period
        bed.link.set_rate(rates_bps[0])
        adaptive = bed.adaptive(
            CLEAVE_EDGE_SAMPLING_FPS=fps,
            CLEAVE_EDGE_IN_FLIGHT=1,
            CLEAVE_EDGE_REPLAN_INTERVAL_S=self._effort.interval_s,
        )
        pinned = bed.pinned("pinned", CLEAVE_EDGE_SAMPLING_FPS=fps, CLEAVE_EDGE_IN_FLIGHT=1)
        async with adaptive, pinned.edge:
            await bed.run(pinned.edge, 1)
            await bed.run(adaptive, 1)
            await adaptive.planned(timeout_s=120)
            await adaptive.measured(timeout_s=300)
            for rate in rates_bps:
                self._say(f"{format_bandwidth(rate)}: the plan settles")
                rows.add(await self._point(rate, period, known, adaptive, pinned, baselines))

    async def _point(
        self,
        rate_bps: float,
        period: float,
        known: Known,
        adaptive: Edge,
        pinned: PinnedEdge,
        baselines: Baselines,
    ) -> RegretRow:
        bed, effort = self._bed, self._effort
        bed.link.set_rate(rate_bps)
        carried = await carried_bps(bed.link)
        settled_s = await settle(bed, adaptive, carried, effort.interval_s)
        link = adaptive.status()["link"]
        estimate = (link["bandwidth_mbit"] or carried / 1e6) * 1e6
        conditions = Conditions(bandwidth_bps=estimate, rtt_ms=link["rtt_ms"])
        told = outlook(adaptive.status()["alternatives"])
        cuts = select(
            known.candidates,
            conditions,
            within=effort.within,
            most=effort.most_cuts,
            always=adaptive.cut,
            any_of=list(told),
            by_lot=effort.by_lot,
        )
        contenders = [
            of_edge(ADAPTIVE, bed, adaptive, probes=True),
            *(of_cut(cut.label, bed, pinned, rounds_between(cut, cuts, conditions)) for cut in cuts),
            of_worker(PLAIN, baselines.plain, bed.frames, period / 1e3, SECOND_ROUND),
            of_worker(HTTP, baselines.http, bed.frames, period / 1e3, SECOND_ROUND),
        ]
        self._say(f"{format_bandwidth(rate_bps)}: {len(contenders)} take turns")
        rounds = Rounds(contenders, effort.frames, lambda: probes(adaptive))
        labels, least = [cut.label for cut in cuts], effort.rounds_at(period)
        await rounds.run(
            least,
            f"{bed.pair.model} {rate_bps}",
            most=round(effort.most_rounds * least),
            is_open=lambda visits: effort.is_open(visits, labels),
        )
        found = Found(rounds.visits, cuts, told)
        row = RegretRow(
            model=bed.pair.model,
            rate_bps=rate_bps,
            carried_bps=carried,
            estimated_bps=estimate,
            settled_s=settled_s,
            period_ms=period,
            adaptive=found.series(ADAPTIVE),
            adaptive_cuts=found.cuts_run(ADAPTIVE),
            cuts=tuple(found.cut_times(cut) for cut in cuts),
            frontier_cuts=len(known.candidates),
            plain=found.series(PLAIN),
            http=found.series(HTTP),
        )
        self._say(
            f"{format_bandwidth(rate_bps)}: {row.adaptive_cuts[0]} {row.adaptive.median:.0f} ms, best static "
            f"{row.best.label} {row.best.frames.median:.0f} ms, regret {row.regret:.3f} "
            f"({rounds.repeated} visits repeated)"
        )
        return row


def rounds_between(cut: Candidate, cuts: Sequence[Candidate], conditions: Conditions) -> int:
    """Say of how many rounds a cut takes part in one: of all, or of two where it is far behind."""
    best_ms = min(c.predict(conditions).latency_ms for c in cuts)
    return SECOND_ROUND if cut.predict(conditions).latency_ms > FAR * best_ms else 1


def outlook(alternatives: Sequence[Mapping[str, Any]]) -> dict[str, StageTimes]:
    """Read the alternatives of an edge's status, by cut."""
    found = {}
    for alternative in alternatives:
        ms = alternative["ms"]
        extra_ms = ms["latency"] - ms["edge"] - ms["link"] - ms["cloud"]
        found[alternative["cut"]] = StageTimes(ms["edge"], ms["link"], ms["cloud"], extra_ms)
    return found


@dataclass(frozen=True, slots=True)
class Found:
    """What the visits of a point say, and what the adaptive edge had told of the cuts before them."""

    visits: Sequence[Visit]
    cuts: Sequence[Candidate]
    told: Mapping[str, StageTimes]

    def of(self, contender: str) -> list[Visit]:
        return sorted((v for v in self.visits if v.contender == contender), key=lambda v: v.round)

    def series(self, contender: str) -> Series:
        visits = self.of(contender)
        return Series(tuple(v.latency_ms for v in visits), sum(v.fallbacks for v in visits))

    def cuts_run(self, contender: str) -> tuple[str, ...]:
        count = Counter(cut for visit in self.of(contender) for cut in visit.cuts)
        return tuple(cut for cut, _ in count.most_common())

    def cut_times(self, cut: Candidate) -> CutTimes:
        """Return a cut's times, and its predictions: none for a cut that the adaptive edge told nothing of."""
        told = self.told.get(cut.label)
        predicted = [
            told.latency_ms(
                self._scale(EDGE_ONLY, visit.round, lambda v: v.head_ms, lambda t: t.edge_ms),
                self._scale(CLOUD_ONLY, visit.round, lambda v: v.tail_ms, lambda t: t.cloud_ms),
            )
            for visit in self.of(cut.label)
            if told is not None
        ]
        return CutTimes(cut.label, self.series(cut.label), tuple(predicted), told, self._seen(cut.label))

    def _seen(self, contender: str) -> StageTimes:
        def median(times: Callable[[Visit], Sequence[float]]) -> float:
            found = [ms for visit in self.of(contender) for ms in times(visit)]
            return statistics.median(found) if found else 0.0

        stages = (
            median(lambda v: v.head_ms) + median(lambda v: v.encode_ms),
            median(lambda v: v.link_ms),
            median(lambda v: v.tail_ms),
        )
        return StageTimes(*stages, extra_ms=median(lambda v: v.latency_ms) - sum(stages))

    def _scale(
        self,
        end: str,
        number: int,
        stage: Callable[[Visit], Sequence[float]],
        believed: Callable[[StageTimes], float],
    ) -> float:
        """Return how many times as long as believed an end's stage took, in the round or the one before it."""
        visits = [v for v in self.of(end) if v.round <= number]
        times = [ms for ms in stage(visits[-1]) if ms > 0] if visits else []
        told_ms = believed(self.told[end]) if end in self.told else 0.0
        return statistics.median(times) / told_ms if times and told_ms else 1.0
