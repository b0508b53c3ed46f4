"""What a point's visits say."""

from __future__ import annotations

from dataclasses import astuple
from typing import Any

import pytest

from benchmarks.bench_candidates import Candidate
from benchmarks.bench_regret import ADAPTIVE, Effort, Found, outlook, rounds_between
from benchmarks.bench_rows import CLOUD_ONLY, EDGE_ONLY, StageTimes
from benchmarks.bench_visits import Visit
from common.partition.decide import Conditions
from tests.benchmarks.bench_examples import CANDIDATES

CLOUD, EARLY, _, EDGE = CANDIDATES
LINK = Conditions(bandwidth_bps=16e6, rtt_ms=2.0)


def told_of(candidate: Candidate) -> dict[str, Any]:
    """Say of a candidate what an edge's status would."""
    predicted = candidate.predict(LINK)
    stages = {"edge": predicted.edge_ms, "link": predicted.link_ms, "cloud": predicted.cloud_ms}
    return {"cut": candidate.label, "ms": {**stages, "latency": predicted.latency_ms}}


TOLD = outlook([told_of(candidate) for candidate in CANDIDATES])


def visit(name: str, number: int, total: float, head: float = 0.0, tail: float = 0.0, cut: str = "") -> Visit:
    return Visit(
        round=number, contender=name, began=0.0, ended=1.0, latency_ms=(total,), head_ms=(head,), tail_ms=(tail,),
        cuts=(cut or name,),
    )  # fmt: skip


def test_predictions_are_made_with_the_devices_as_the_ends_show_them_in_the_round() -> None:
    """In the second round the edge is a tenth slower, and the cloud twice as slow."""
    visits = [
        visit(EDGE_ONLY, 0, 320.0, head=320.0),
        visit(CLOUD_ONLY, 0, 142.0, tail=40.0),
        visit("after early", 0, 170.0),
        visit(EDGE_ONLY, 1, 352.0, head=352.0),
        visit(CLOUD_ONLY, 1, 182.0, tail=80.0),
        visit("after early", 1, 208.0),
    ]
    found = Found(visits, CANDIDATES, TOLD)
    early = found.cut_times(EARLY)
    link = 80_000 * 8 / 16e3 + 2.0
    assert early.predicted == pytest.approx((100 + link + 28, 110 + link + 56))
    assert early.prediction_error == pytest.approx(0.0, abs=1e-9)
    assert found.cut_times(CLOUD).predicted == pytest.approx((142.0, 182.0))


def test_an_end_that_skips_a_round_speaks_for_the_next_one_too() -> None:
    """Edge-only, far behind, is visited in the first round only; its word holds in the second."""
    visits = [
        visit(EDGE_ONLY, 0, 640.0, head=640.0),
        visit(CLOUD_ONLY, 0, 142.0, tail=40.0),
        visit(CLOUD_ONLY, 1, 142.0, tail=40.0),
        visit("after early", 1, 270.0),
    ]
    (predicted,) = Found(visits, CANDIDATES, TOLD).cut_times(EARLY).predicted
    assert predicted == pytest.approx(200 + 42 + 28)


def test_an_end_without_a_tail_scales_nothing() -> None:
    """All of cloud-only's frames finished on the edge: there is nothing to go by."""
    visits = [
        visit(EDGE_ONLY, 0, 320.0, head=320.0),
        visit(CLOUD_ONLY, 0, 900.0),
        visit("after early", 0, 170.0),
    ]
    assert Found(visits, CANDIDATES, TOLD).cut_times(EARLY).predicted == pytest.approx((170.0,))


def test_what_the_edge_told_nothing_of_was_not_predicted() -> None:
    """Such a cut is measured all the same."""
    visits = [visit("after early", 0, 170.0)]
    found = Found(visits, CANDIDATES, {EDGE_ONLY: TOLD[EDGE_ONLY]}).cut_times(EARLY)
    assert found.frames.median == 170.0
    assert found.prediction_error is None


def test_a_cut_tells_where_its_prediction_was_wrong() -> None:
    """Beside what was told of each stage is what the frames showed: here a codec's bytes took longer on the link."""
    seen = Visit(
        round=0, contender="after early", began=0.0, ended=1.0, latency_ms=(200.0, 210.0, 220.0),
        head_ms=(90.0, 95.0, 99.0), encode_ms=(4.0, 5.0, 6.0), link_ms=(70.0, 75.0, 80.0), tail_ms=(27.0, 28.0, 29.0),
    )  # fmt: skip
    found = Found([seen], CANDIDATES, TOLD).cut_times(EARLY)
    assert found.told is not None
    assert astuple(found.told) == pytest.approx((100.0, 40.0, 28.0, 2.0))
    assert found.seen == StageTimes(edge_ms=100.0, link_ms=75.0, cloud_ms=28.0, extra_ms=7.0)


def test_the_cuts_that_ran_are_named_the_most_frequent_first() -> None:
    visits = [visit(ADAPTIVE, n, 100.0, cut=cut) for n, cut in enumerate(["a", "b", "b"])]
    assert Found(visits, CANDIDATES, TOLD).cuts_run(ADAPTIVE) == ("b", "a")


def test_slow_points_have_fewer_rounds() -> None:
    """But no more than were asked for."""
    assert [Effort(rounds=4).rounds_at(period) for period in (900.0, 1100.0)] == [4, 3]
    assert Effort(rounds=1).rounds_at(5000.0) == 1


def test_a_point_is_open_while_the_best_cut_or_the_better_end_may_be_as_fast() -> None:
    """However slow the others are, and however much they differ from frame to frame."""
    labels = [EARLY.label, EDGE_ONLY, CLOUD_ONLY]

    def is_open(**stalls_ms: float) -> bool:
        times = {ADAPTIVE: 101.0, EARLY.label: 100.0, CLOUD_ONLY: 150.0, EDGE_ONLY: 300.0}
        names = {"early": EARLY.label, "cloud": CLOUD_ONLY, "edge": EDGE_ONLY, "adaptive": ADAPTIVE}
        stalls = {names[key]: ms for key, ms in stalls_ms.items()}
        visits = [
            visit(name, number, ms + stalls.get(name, 0.0) * (number == 0))
            for number in range(4)
            for name, ms in times.items()
        ]
        return Effort().is_open(visits, labels)

    assert not is_open()
    assert not is_open(edge=200.0)
    assert is_open(early=60.0)
    assert is_open(cloud=60.0)
    assert is_open(adaptive=60.0)


def test_an_end_that_is_far_behind_is_visited_in_every_second_round() -> None:
    """At 500 Mbit/s cloud-only takes 43 ms, edge-only 320."""
    fast = Conditions(bandwidth_bps=500e6)
    assert rounds_between(EDGE, CANDIDATES, fast) == 2
    assert rounds_between(CLOUD, CANDIDATES, fast) == 1
