"""Facts about what is planned with after stages could not be made ready."""

from __future__ import annotations

from itertools import pairwise

from common.graph import ModelGraph
from common.partition.closed_sets import closed_sets_in_order
from common.partition.frontier import Frontier
from common.plan import Cut
from edge_daemon.refused_stages import AGAIN_S, MOST, RefusedStages
from tests.edge_daemon.fake_cloud import WELCOME

NAMES = [f"u{n}" for n in range(8)]
GRAPH = ModelGraph.from_links({name: 1000 - n for n, name in enumerate(NAMES)}, list(pairwise(NAMES)))
FRONTIER = Frontier.build(closed_sets_in_order(GRAPH), dict.fromkeys(NAMES, 2.0), dict.fromkeys(NAMES, 1.0))
CUTS = [Cut.of(GRAPH, NAMES[:count]) for count in range(1, 9)]


def left(refused: RefusedStages, present: Cut, now: float = 0.0) -> set[str]:
    kept = refused.without(FRONTIER, present, WELCOME, now)
    return {kept.cut(entry).label for entry in range(len(kept))}


ALL = {cut.label for cut in CUTS}


def test_what_was_refused_is_left_out_for_a_while() -> None:
    """With this cloud; on another connection it may be another one."""
    refused = RefusedStages()
    assert left(refused, CUTS[-1]) == ALL
    refused.note(CUTS[2], WELCOME, 0.0)
    assert left(refused, CUTS[-1]) == ALL - {CUTS[2].label}
    assert refused.holds(CUTS[2], WELCOME, 0.0)
    assert not refused.holds(CUTS[3], WELCOME, 0.0)
    assert not refused.holds(CUTS[2], None, 0.0)
    assert left(refused, CUTS[-1], AGAIN_S) == ALL


def test_what_is_ready_is_never_left_out() -> None:
    """The stages in force are, whatever was said of them before; and the edge alone always is."""
    refused = RefusedStages()
    for cut in (CUTS[2], CUTS[-1]):
        refused.note(cut, WELCOME, 0.0)
    assert left(refused, CUTS[2]) == ALL


def test_after_a_few_refusals_nothing_new_is_asked_for() -> None:
    """A cloud without room refuses all: asking for each cut in turn would take its time, and the edge's."""
    refused = RefusedStages()
    for cut in CUTS[:MOST]:
        refused.note(cut, WELCOME, 0.0)
    assert left(refused, CUTS[6]) == {CUTS[6].label, "edge-only"}
    assert refused.holds(CUTS[5], WELCOME, 0.0)
