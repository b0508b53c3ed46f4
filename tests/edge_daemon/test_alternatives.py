"""Facts about what is told of the cuts that are not in force."""

from __future__ import annotations

import pytest

from common.graph import ModelGraph
from common.partition.closed_sets import enumerate_closed_sets
from common.partition.decide import Conditions
from common.partition.frontier import Frontier
from edge_daemon.alternatives import alternatives

GRAPH = ModelGraph.from_links(
    {"f": 200_000, "a": 150_000, "b": 90_000, "c": 20_000, "d": 10},
    [("f", "a"), ("a", "b"), ("b", "c"), ("c", "d")],
)
EDGE = {"f": 0.0, "a": 20.0, "b": 40.0, "c": 60.0, "d": 300.0}
CLOUD = dict.fromkeys(GRAPH.names, 1.0)
FRONTIER = Frontier.build(enumerate_closed_sets(GRAPH), EDGE, CLOUD)
CONDITIONS = Conditions(bandwidth_bps=8e6, rtt_ms=2.0, cloud_scale=3.0)


def test_the_best_come_first_with_the_times_that_are_decided_by() -> None:
    """200,000 bytes at 8 Mbit/s are 200 ms; after c it is 120 on the edge, 20 on the link, 3 in a slow cloud."""
    told = alternatives(FRONTIER, CONDITIONS)
    assert [one.cut for one in told] == ["after c", "after b", "after a", "cloud-only", "edge-only"]
    assert told[0].to_status() == {
        "cut": "after c",
        "ms": {"edge": 120.0, "link": 20.0, "cloud": 3.0, "latency": 145.0},
    }
    assert told[-2].prediction.link_ms == pytest.approx(200.0)
    assert told[-1].prediction.latency_ms == pytest.approx(420.0)


def test_both_ends_are_told_of_however_far_behind() -> None:
    """They are what a person compares with."""
    assert [one.cut for one in alternatives(FRONTIER, CONDITIONS, most=1)] == [
        "after c",
        "cloud-only",
        "edge-only",
    ]
