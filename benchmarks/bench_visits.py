"""Contenders that take turns: who is visited in which round, and what a visit found.

    round 1   cut A ─► adaptive ─► HTTP ─► cut B ─► …      each visit: one frame or two to warm up, then those counted
    round 2   cut B ─► cut A ─► adaptive ─► …              another order

A machine's speed wanders by a third within seconds. What is compared runs within seconds of each other, and each
median is over all rounds. Only the contender that is visited works. There are more rounds where the differences from
frame to frame leave it open how far two contenders are apart: how wide they spread decides, not who is ahead.
"""

from __future__ import annotations

import asyncio
import math
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from benchmarks.bench_bed import Bed, PinnedEdge, Record
from benchmarks.bench_rows import Floats
from benchmarks.bench_settle import Span
from benchmarks.bench_worker import Worker
from benchmarks.pair import Edge

WARM = 1
"""Frames at the beginning of a visit that are not counted: the other contenders had the caches …"""
IDLE_WARM = 2
"""… and of one whose process has done nothing while the others were visited: its second frame, too, takes 2% longer
than one of the edge that runs all the static cuts (the first 7%)."""
LONGEST_PROBE_S = 1.7
"""A measurement of the link, by iperf3."""
NEVER_MS = 1e9
"""The latency of a frame that got no answer."""
LEAST_TO_SPREAD = 2
"""Differences that have a standard deviation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One contender's turn. Times in ms, frame by frame; `began` and `ended` in Unix seconds."""

    round: int
    contender: str
    began: float
    ended: float
    latency_ms: Floats
    head_ms: Floats = ()
    encode_ms: Floats = ()
    link_ms: Floats = ()
    tail_ms: Floats = ()
    cuts: tuple[str, ...] = ()
    fallbacks: int = 0

    def overlaps(self, spans: Iterable[Span]) -> bool:
        """Say whether something that went on for one of these spans did so during this visit."""
        return any(end > self.began and began < self.ended for began, end in spans)


IsOpen = Callable[[Sequence[Visit]], bool]


def never(_: Sequence[Visit]) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Contender:
    """Somebody who answers frames. `run` has those with these numbers answered, and returns the visit's findings.

    `warm`: how many of the frames are not counted. `every`: of how many rounds it takes part in one. `probes`: it
    measures the link itself, so that its own measurements do not disturb it but belong to what it does.
    """

    name: str
    run: Callable[[range], Awaitable[Visit]]
    warm: int
    every: int = 1
    probes: bool = False


def answered_at(record: Record) -> float:
    """Return when a frame had its record, in Unix seconds."""
    return datetime.fromisoformat(record["answered_at"]).timestamp()


def latency_ms(record: Record, before: Record | None = None) -> float:
    """Return the time from a frame's reading to its answer: its wait for the edge's processor is part of it.

    Not the wait for the frame `before` it, where one runs at a time and frames come faster than a cut answers them.
    """
    if record["error"]:
        return NEVER_MS
    total: float = record["ms"]["total"]
    whole: float = record["ms"]["queue"] + total
    if before is None:
        return whole
    return max(total, min(whole, (answered_at(record) - answered_at(before)) * 1e3))


def visit_of(name: str, records: Sequence[Record], began: float, warm: int) -> Visit:
    """Make a visit of a daemon's records, without the first ones, which warmed up."""
    counted = records[warm:]

    def times(stage: str) -> Floats:
        return tuple(record["ms"][stage] or 0.0 for record in counted)

    return Visit(
        round=0,
        contender=name,
        began=began,
        ended=time.time(),
        latency_ms=tuple(latency_ms(record, before) for before, record in pairwise(records))[warm - 1 :],
        head_ms=times("head"),
        encode_ms=times("encode"),
        link_ms=times("link"),
        tail_ms=times("tail"),
        cuts=tuple(record["plan"]["cut"] for record in counted),
        fallbacks=sum("fallback" in record or bool(record["error"]) for record in counted),
    )


def of_edge(name: str, bed: Bed, edge: Edge, *, probes: bool = False) -> Contender:
    """An edge daemon with whatever plan it has."""

    async def run(numbers: range) -> Visit:
        began = time.time()
        return visit_of(name, await bed.run(edge, len(numbers), numbers.start), began, IDLE_WARM)

    return Contender(name, run, IDLE_WARM, probes=probes)


def of_cut(label: str, bed: Bed, pinned: PinnedEdge, every: int = 1) -> Contender:
    """A static cut."""

    async def run(numbers: range) -> Visit:
        await pinned.use(label)
        began = time.time()
        return visit_of(label, await bed.run(pinned.edge, len(numbers), numbers.start), began, WARM)

    return Contender(label, run, WARM, every=every)


def of_worker(
    name: str, worker: Worker, frames: Sequence[Path], period_s: float, every: int = 1
) -> Contender:
    """A baseline's process, which is sent a frame each period, or as soon as it has answered the one before."""

    async def run(numbers: range) -> Visit:
        began = time.time()
        times = []
        for number in numbers:
            due = time.monotonic() + period_s
            times.append((await worker.ask(str(frames[number % len(frames)])))["ms"])
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        counted = tuple(times[IDLE_WARM:])
        return Visit(round=0, contender=name, began=began, ended=time.time(), latency_ms=counted)

    return Contender(name, run, IDLE_WARM, every=every)


def order_of(contenders: Sequence[Contender], number: int, seed: str) -> list[Contender]:
    """Return who takes part in a round, in an order that the seed and the round determine."""
    chosen = [contender for contender in contenders if number % contender.every == 0]
    random.Random(f"{seed} {number}").shuffle(chosen)
    return chosen


def uncertainty(visits: Iterable[Visit], ours: str, theirs: str) -> float:
    """Return the standard error of the mean difference of two contenders on the same frames, in shares of `theirs`.

    Of the rounds in which both took part; infinite if that is less than two frames.
    """
    times = {(visit.round, visit.contender): visit.latency_ms for visit in visits}
    pairs = [
        pair
        for (number, name), of_ours in times.items()
        if name == ours and (number, theirs) in times
        for pair in zip(of_ours, times[number, theirs], strict=True)
    ]
    if len(pairs) < LEAST_TO_SPREAD:
        return math.inf
    error_ms = statistics.stdev(a - b for a, b in pairs) / math.sqrt(len(pairs))
    return error_ms / statistics.median(b for _, b in pairs)


class Rounds:
    """Visits all contenders, round by round, and those again that a measurement of the link ran into.

    All are sent the same frames in a round, and others in the next: frames differ in size by half.
    """

    def __init__(
        self, contenders: Sequence[Contender], frames: int, probes: Callable[[], Sequence[Span]]
    ) -> None:
        self._contenders: Mapping[str, Contender] = {c.name: c for c in contenders}
        self._frames = frames
        self._probes = probes
        self._visits: dict[tuple[int, str], Visit] = {}
        self.repeated = 0

    @property
    def visits(self) -> list[Visit]:
        return list(self._visits.values())

    async def run(self, least: int, seed: str, most: int = 0, is_open: IsOpen = never) -> None:
        """Have `least` rounds, and more while it `is_open` by the visits so far what they say, up to `most`."""
        for number in range(max(least, most)):
            if number >= least and not is_open(self.visits):
                break
            for contender in order_of(list(self._contenders.values()), number, seed):
                await self._visit(number, contender)
            await self._repeat_disturbed()
        await asyncio.sleep(LONGEST_PROBE_S)  # one that is running now is logged by then
        await self._repeat_disturbed()

    async def _visit(self, number: int, contender: Contender) -> None:
        first = number * self._frames + IDLE_WARM
        found = await contender.run(range(first - contender.warm, first + self._frames))
        self._visits[number, contender.name] = replace(found, round=number)

    async def _repeat_disturbed(self) -> None:
        """Visit anew, once, whoever worked while the adaptive edge measured the link."""
        spans = self._probes()
        for (number, name), visit in list(self._visits.items()):
            contender = self._contenders[name]
            if not contender.probes and visit.overlaps(spans):
                self.repeated += 1
                await self._visit(number, contender)
