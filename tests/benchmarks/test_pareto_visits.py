"""The visits of a ParetoPipe experiment: their schedule, their file, and the points that come of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.pareto_visits import Place, Visit, VisitFile, points_of, schedule
from common.partition.decide import Costs

LINKS = [(2e7, 1.0), (2e7, 2.5)]
CUTS = [f"after {i}, x" for i in range(20)] + ["edge-only", "cloud-only"]
COSTS = {
    "edge-only": Costs(edge_ms=100.0, payload_bytes=0.0, cloud_ms=0.0),
    "cloud-only": Costs(edge_ms=0.0, payload_bytes=50_000.0, cloud_ms=20.0),
    "middle": Costs(edge_ms=40.0, payload_bytes=10_000.0, cloud_ms=12.0),
}


def visited(cut: str, head: float, tail: float, number: int, *, reference: bool, fps: float = 0.0) -> Visit:
    """Three frames of a cut on a link of 20 Mbit/s and 1 ms, with stages of `head` and `tail` ms."""
    link = COSTS[cut].payload_bytes * 8 / 2e4 + (2.0 if cut != "edge-only" else 0.0)
    return Visit(
        place=Place(2e7, 1.0, number, 0, cut, reference),
        latency_ms=(head + link + tail,) * 3,
        head_ms=(head,) * 3,
        link_ms=(link,) * 3,
        tail_ms=(tail,) * 3,
        fps=fps,
        fallbacks=0,
    )


def test_each_cut_is_visited_once_a_round_with_the_ends_in_between() -> None:
    """Every link and round sees all cuts, in another order each time, and the ends again and again."""
    places = schedule(LINKS, CUTS, rounds=3)
    assert len(set(places)) == len(places)
    orders = set()
    for link in LINKS:
        for number in range(3):
            here = [p for p in places if (p.rate_bps, p.delay_ms, p.round) == (*link, number)]
            assert Counter(p.cut for p in here if not p.reference) == Counter(CUTS)
            assert Counter(p.cut for p in here if p.reference) == {"edge-only": 3, "cloud-only": 3}
            assert [p.position for p in here] == list(range(len(here)))
            orders.add(tuple(p.cut for p in here if not p.reference))
    assert len(orders) == 6
    assert places == schedule(LINKS, CUTS, rounds=3), "a run that goes on finds the same schedule"


def test_visits_are_found_again_after_a_restart(tmp_path: Path) -> None:
    """What was measured is on disk as soon as it is added, and is not measured again."""
    first, second, third = schedule(LINKS, CUTS, rounds=1)[-3:]
    path = tmp_path / "visits.csv"
    visit = Visit(
        place=first,
        latency_ms=(1.5, 2.25),
        head_ms=(0.0, 0.5),
        link_ms=(1.0, 1.0),
        tail_ms=(0.5, 0.75),
        fps=12.5,
        fallbacks=1,
    )
    VisitFile(path).add(visit)
    again = VisitFile(path)
    assert again.visits == [visit]
    assert first in again
    assert second not in again
    again.add(replace(visit, place=third))
    assert [v.place for v in VisitFile(path).visits] == [first, third]


def test_the_ends_tell_the_speed_the_others_are_predicted_with() -> None:
    """An edge half as fast and a cloud thrice as slow in a round scale that round's predictions, and only they do."""
    visits = [
        visited("edge-only", 200.0, 0.0, 0, reference=True),
        visited("cloud-only", 0.0, 60.0, 0, reference=True),
        visited("middle", 77.0, 33.0, 0, reference=False, fps=9.0),
    ]
    (point,) = points_of(visits, "m", COSTS.__getitem__)
    assert point.cut == "middle"
    assert (point.predicted_head_ms, point.predicted_tail_ms) == pytest.approx((80.0, 36.0))
    assert point.predicted_latency_ms == pytest.approx(80.0 + 4.0 + 36.0 + 2.0)
    assert point.profiled_latency_ms == pytest.approx(40.0 + 4.0 + 12.0 + 2.0)
    assert (point.latency_ms, point.head_ms, point.tail_ms) == pytest.approx((116.0, 77.0, 33.0))
    assert (point.predicted_fps, point.profiled_fps, point.fps) == pytest.approx((12.5, 25.0, 9.0))


def test_each_round_is_predicted_with_its_own_speed() -> None:
    """A point's prediction is the median of its visits', each under the scales of its round."""
    visits = []
    for number, speed in enumerate((1.0, 2.0, 6.0)):
        visits += [
            visited("edge-only", 100.0 * speed, 0.0, number, reference=True),
            visited("cloud-only", 0.0, 20.0, number, reference=True),
            visited("middle", 40.0 * speed, 12.0, number, reference=False, fps=1.0),
        ]
    (point,) = points_of(visits, "m", COSTS.__getitem__)
    assert point.predicted_head_ms == pytest.approx(80.0)
    assert point.latency_ms == pytest.approx(point.predicted_latency_ms)
    assert (point.latency_least_ms, point.latency_most_ms) == pytest.approx((58.0, 258.0))


def test_a_round_without_references_is_predicted_as_profiled() -> None:
    """The first visits of a run that has just begun have nothing to be scaled by."""
    (point,) = points_of([visited("middle", 50.0, 15.0, 0, reference=False, fps=1.0)], "m", COSTS.__getitem__)
    assert point.predicted_latency_ms == point.profiled_latency_ms


def test_an_end_that_was_never_answered_scales_nothing() -> None:
    """A link too slow for the cloud alone has its references finish on the edge: there is no tail to go by."""
    visits = [
        visited("cloud-only", 0.0, 0.0, 0, reference=True),
        visited("middle", 40.0, 12.0, 0, reference=False, fps=1.0),
    ]
    (point,) = points_of(visits, "m", COSTS.__getitem__)
    assert point.predicted_tail_ms == pytest.approx(12.0)
