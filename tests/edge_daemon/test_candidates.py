"""Facts about which cuts are measured as whole segments."""

from __future__ import annotations

import pytest

from common.graph import ModelGraph
from common.partition.closed_sets import enumerate_closed_sets
from common.partition.decide import Conditions, choose
from common.partition.frontier import Frontier
from edge_daemon.candidates import BANDWIDTHS_BPS, MOST, candidates

SIZES = {"f": 200_000, "a": 150_000, "b": 90_000, "c": 20_000, "d": 10}
GRAPH = ModelGraph.from_links(SIZES, [("f", "a"), ("a", "b"), ("b", "c"), ("c", "d")])
EDGE = {"f": 0.0, "a": 20.0, "b": 40.0, "c": 60.0, "d": 300.0}
CLOUD = dict.fromkeys(GRAPH.names, 1.0)
FRONTIER = Frontier.build(enumerate_closed_sets(GRAPH), EDGE, CLOUD)


@pytest.mark.parametrize("rate_fps", [None, 1.0])
def test_whatever_may_be_best_is_a_candidate(rate_fps: float | None) -> None:
    """At every bandwidth that was looked at the best cut by unit times is among those to measure, once."""
    found = candidates(FRONTIER, Conditions(bandwidth_bps=1e6, rate_fps=rate_fps))
    assert len(set(found)) == len(found) <= MOST
    for bps in BANDWIDTHS_BPS:
        best = FRONTIER.cut(choose(FRONTIER, Conditions(bandwidth_bps=bps, rate_fps=rate_fps)).entry)
        assert best in found


def test_what_can_never_be_best_is_no_candidate() -> None:
    """A cut far behind at every bandwidth is not worth its measurement."""
    hopeless = ModelGraph.from_links(
        {**SIZES, "a": 10_000_000}, [("f", "a"), ("a", "b"), ("b", "c"), ("c", "d")]
    )
    sets = enumerate_closed_sets(hopeless)
    frontier = Frontier.build(sets, EDGE, {**CLOUD, "b": 60.0})
    labels = {cut.label for cut in candidates(frontier, Conditions(bandwidth_bps=1e6, rate_fps=1.0))}
    assert "after a" not in labels
    assert {"edge-only", "cloud-only"} <= labels
