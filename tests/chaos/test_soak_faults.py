"""Facts about the faults of a soak: all kinds come, none outlasts its period, a seed tells them."""

from __future__ import annotations

import random
from collections import Counter

from benchmarks.emulated_link import EmulatedLink, Forward, LinkShape, obey
from tests.chaos.soak_faults import SETTLE_S, WEIGHTS, Fault, draw_faults

EDGES, CLOUDS = ("a", "b", "c"), ("plain", "guarded")


def draw(seed: int) -> list[Fault]:
    return draw_faults(random.Random(seed), begin=100.0, end=140.0, edges=EDGES, clouds=CLOUDS, mortal="b")


def test_faults_begin_and_end_in_their_period() -> None:
    """So that a quiet moment can come; and what is done to one edge has ended before the next begins."""
    for seed in range(50):
        ends: dict[str, float] = {}
        for fault in draw(seed):
            assert 100.0 < fault.at < fault.at + fault.lasts_s <= 140.0 or fault.lasts_s == 0.0
            assert fault.at >= ends.get(fault.target, 0.0)
            if fault.target in EDGES:
                ends[fault.target] = fault.at + fault.lasts_s
            assert fault.span == (fault.at, fault.at + fault.lasts_s + SETTLE_S)


def test_all_kinds_come_and_only_one_edge_is_killed() -> None:
    faults = [fault for seed in range(50) for fault in draw(seed)]
    kinds = Counter(fault.kind for fault in faults)
    assert kinds.keys() == WEIGHTS.keys()
    assert {fault.target for fault in faults if fault.kind == "kill"} == {"b"}
    assert {fault.target for fault in faults if fault.kind == "garbage"} == set(CLOUDS)


def test_a_seed_tells_the_faults() -> None:
    assert draw(7) == draw(7)
    assert draw(7) != draw(8)


def test_what_is_undone_leaves_the_link_as_it_was() -> None:
    """Every order is one that an emulated link understands."""
    link = EmulatedLink([Forward(listen=("127.0.0.1", 0), target=("127.0.0.1", 1))])
    for seed in range(50):
        for fault in draw(seed):
            for order in (*fault.orders, *fault.undone):
                obey(link, order)
            assert link.shape == LinkShape(), fault
