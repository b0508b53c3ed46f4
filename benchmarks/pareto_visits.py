"""What a ParetoPipe experiment measures, visit by visit, and the points that come of it.

A machine's speed wanders by a third within seconds. So every cut of a link is visited once in each round, in
an order of its own, and the two ends in between, again and again: they tell how fast the devices are in that
round, which is what a daemon's own drift correction knows when it decides.
"""

from __future__ import annotations

import csv
import random
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

from benchmarks.pareto_points import Point
from common.partition.decide import Conditions, Costs
from common.plan import Prediction

REFERENCES_EVERY = 8
"""Visits between two looks at the ends."""
EDGE_ONLY, CLOUD_ONLY = "edge-only", "cloud-only"

Floats = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """One visit in the schedule: a cut on a link in a round. References are for the scales only."""

    rate_bps: float
    delay_ms: float
    round: int
    position: int
    cut: str
    reference: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """What was measured there: closed-loop times in ms, frame by frame, and the saturated rate (0: not asked)."""

    place: Place
    latency_ms: Floats
    head_ms: Floats
    link_ms: Floats
    tail_ms: Floats
    fps: float
    fallbacks: int


def schedule(links: Iterable[tuple[float, float]], cuts: Sequence[str], rounds: int) -> list[Place]:
    """Return all visits: link by link, round by round, each round's cuts shuffled, the ends in between."""
    places: list[Place] = []
    for rate_bps, delay_ms in links:
        for number in range(rounds):
            order = list(cuts)
            random.Random(f"{rate_bps} {delay_ms} {number}").shuffle(order)
            visits: list[tuple[str, bool]] = []
            for i, cut in enumerate(order):
                if i % REFERENCES_EVERY == 0:
                    visits += [(EDGE_ONLY, True), (CLOUD_ONLY, True)]
                visits.append((cut, False))
            places += [
                Place(rate_bps, delay_ms, number, position, cut, reference)
                for position, (cut, reference) in enumerate(visits)
            ]
    return places


class VisitFile:
    """A CSV file of visits: read when opened, appended to visit by visit."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.visits: list[Visit] = []
        if path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                self.visits = [_read(row) for row in csv.DictReader(file)]
        self._places = {visit.place for visit in self.visits}

    def __contains__(self, place: Place) -> bool:
        return place in self._places

    def add(self, visit: Visit) -> None:
        row = {field.name: _show(getattr(visit.place, field.name)) for field in fields(Place)}
        row |= {
            field.name: _show(getattr(visit, field.name)) for field in fields(Visit) if field.name != "place"
        }
        is_new = not self._path.exists()
        with self._path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, row)
            if is_new:
                writer.writeheader()
            writer.writerow(row)
        self.visits.append(visit)
        self._places.add(visit.place)


def points_of(visits: Sequence[Visit], model: str, costs_of: Callable[[str], Costs]) -> list[Point]:
    """Sum up the visits to points, in the order of the links and of latency.

    `costs_of` gives a cut's profiled costs. A visit is predicted with these, scaled as the ends' stages of the
    same link and round say; a point's prediction is the median of its visits'.
    """
    points: list[Point] = []
    for link in dict.fromkeys((visit.place.rate_bps, visit.place.delay_ms) for visit in visits):
        here = [v for v in visits if (v.place.rate_bps, v.place.delay_ms) == link]
        numbers = sorted({v.place.round for v in here})
        conditions = {n: _conditions([v for v in here if v.place.round == n], costs_of) for n in numbers}
        cuts = dict.fromkeys(v.place.cut for v in here if not v.place.reference)
        for cut in cuts:
            own = [v for v in here if v.place.cut == cut and not v.place.reference]
            points.append(_point(model, cut, own, costs_of(cut), conditions))
    return sorted(points, key=lambda p: (p.rate_bps, p.delay_ms, p.latency_ms))


def _conditions(visits: Sequence[Visit], costs_of: Callable[[str], Costs]) -> Conditions:
    """Return a round's link, with the scales that its references tell."""
    place = visits[0].place

    def scale(cut: str, profiled_ms: float, stage: Callable[[Visit], Floats]) -> float:
        seen = [ms for v in visits if v.place.reference and v.place.cut == cut for ms in stage(v) if ms > 0]
        return statistics.median(seen) / profiled_ms if seen else 1.0

    return Conditions(
        bandwidth_bps=place.rate_bps,
        rtt_ms=2 * place.delay_ms,
        edge_scale=scale(EDGE_ONLY, costs_of(EDGE_ONLY).edge_ms, lambda v: v.head_ms),
        cloud_scale=scale(CLOUD_ONLY, costs_of(CLOUD_ONLY).cloud_ms, lambda v: v.tail_ms),
    )


def _point(
    model: str, cut: str, visits: Sequence[Visit], costs: Costs, conditions: dict[int, Conditions]
) -> Point:
    place = visits[0].place
    plain = Conditions(bandwidth_bps=place.rate_bps, rtt_ms=2 * place.delay_ms)

    def predict(under: Conditions) -> Prediction:
        return under.predict(costs.edge_ms, costs.payload_bytes, costs.cloud_ms, cut == EDGE_ONLY)

    profiled = predict(plain)
    predicted = [predict(conditions[visit.place.round]) for visit in visits]
    times = sorted(ms for visit in visits for ms in visit.latency_ms)

    def median(stage: Callable[[Visit], Floats]) -> float:
        return statistics.median(ms for visit in visits for ms in stage(visit))

    return Point(
        model=model,
        rate_bps=place.rate_bps,
        delay_ms=place.delay_ms,
        cut=cut,
        payload_bytes=round(costs.payload_bytes),
        profiled_latency_ms=profiled.latency_ms,
        predicted_latency_ms=statistics.median(p.latency_ms for p in predicted),
        latency_ms=statistics.median(times),
        latency_least_ms=times[0],
        latency_most_ms=times[-1],
        profiled_fps=1000.0 / profiled.bottleneck_ms,
        predicted_fps=statistics.median(1000.0 / p.bottleneck_ms for p in predicted),
        fps=statistics.median(visit.fps for visit in visits),
        predicted_head_ms=statistics.median(p.edge_ms for p in predicted),
        head_ms=median(lambda v: v.head_ms),
        link_ms=median(lambda v: v.link_ms),
        predicted_tail_ms=statistics.median(p.cloud_ms for p in predicted),
        tail_ms=median(lambda v: v.tail_ms),
        fallbacks=sum(visit.fallbacks for visit in visits),
    )


def _show(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(f"{item:.3f}" for item in value)
    return f"{value:.4f}" if isinstance(value, float) and value % 1 else str(value)


def _read(row: dict[str, str]) -> Visit:
    place: dict[str, Any] = {}
    for name, kind in get_type_hints(Place).items():
        place[name] = row[name] == "True" if kind is bool else kind(row[name])
    return Visit(
        place=Place(**place),
        latency_ms=_floats(row["latency_ms"]),
        head_ms=_floats(row["head_ms"]),
        link_ms=_floats(row["link_ms"]),
        tail_ms=_floats(row["tail_ms"]),
        fps=float(row["fps"]),
        fallbacks=int(row["fallbacks"]),
    )


def _floats(text: str) -> Floats:
    return tuple(float(part) for part in text.split())
