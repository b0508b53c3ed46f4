"""Facts about planning with measured segments beside unit times."""

from __future__ import annotations

import numpy as np
import pytest

from common.graph import ModelGraph
from common.partition.closed_sets import enumerate_closed_sets
from common.partition.segment_times import SegmentTimes
from common.plan import Cut

GRAPH = ModelGraph.from_links(dict.fromkeys("fabcd", 1), [("f", "a"), ("a", "b"), ("b", "c"), ("c", "d")])
EDGE = {"f": 0.0, "a": 10.0, "b": 10.0, "c": 10.0, "d": 10.0}
CLOUD = dict.fromkeys(GRAPH.names, 1.0)
CUTS = {count: Cut.of(GRAPH, GRAPH.names[:count]) for count in range(1, 6)}


def test_without_measured_segments_units_are_added_up() -> None:
    """That is the first level of a profile."""
    times = SegmentTimes()
    assert times.of_cut(CUTS[3], EDGE, CLOUD) == (20.0, 2.0)
    assert times.of_cut(CUTS[5], EDGE, CLOUD) == (40.0, 0.0)


def test_a_measured_segment_counts_as_measured_and_tells_of_the_others() -> None:
    """What segments take beyond their units is added to those that were not measured; nothing to no segment."""
    times = SegmentTimes().with_cut(CUTS[3], 23.0, 2.5).with_cut(CUTS[2], None, 3.5)
    assert times.of_cut(CUTS[3], EDGE, CLOUD) == (23.0, 2.5)
    assert times.of_cut(CUTS[4], EDGE, CLOUD) == (33.0, 1.5)
    assert times.of_cut(CUTS[1], EDGE, CLOUD) == (0.0, 4.0), "a whole is as it was profiled"
    assert times.of_cut(CUTS[5], EDGE, CLOUD) == (40.0, 0.0)


def test_segments_are_never_taken_to_cost_less_than_their_units() -> None:
    """A measurement that came out faster holds for its own segment alone."""
    times = SegmentTimes().with_cut(CUTS[3], 15.0, 1.0)
    assert times.of_cut(CUTS[3], EDGE, CLOUD) == (15.0, 1.0)
    assert times.of_cut(CUTS[4], EDGE, CLOUD) == (30.0, 1.0)


@pytest.mark.parametrize("measured", [(), (3,), (2, 4)])
def test_all_sets_together_cost_what_each_cut_costs(measured: tuple[int, ...]) -> None:
    """The vectors that the frontier is built from agree with a single cut's times."""
    times = SegmentTimes()
    for count in measured:
        times = times.with_cut(CUTS[count], 10.0 * count + 1.0, 7.0 - count)
    sets = enumerate_closed_sets(GRAPH)
    edge, cloud = times.of_sets(sets, EDGE, CLOUD)
    for row in range(len(sets)):
        assert np.allclose((edge[row], cloud[row]), times.of_cut(sets.cut(row), EDGE, CLOUD))
