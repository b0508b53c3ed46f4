"""Facts about what the frontiers are built from, and when they must be built anew."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from common.partition.closed_sets import enumerate_closed_sets
from common.partition.segment_times import SegmentTimes
from common.profile import Profile, ProfileKey
from edge_daemon import frontiers as module
from edge_daemon.frontiers import Basis, Frontiers
from tests.tiny_model import tiny_model

GRAPH = tiny_model().graph
KEY = ProfileKey(tiny_model().fingerprint, "a device", "torch", 1, 1.0, "40x30")
EDGE, CLOUD = (Profile(KEY, dict.fromkeys(GRAPH.names, ms)) for ms in (4.0, 1.0))
BASIS = Basis(EDGE, CLOUD, SegmentTimes(), 100_000, {("resize", "webp-lossless"): 1.0})


@pytest.mark.parametrize(
    ("now", "holds"),
    [
        (BASIS, True),
        (replace(BASIS, frame_bytes=104_000), True),
        (replace(BASIS, frame_bytes=106_000), False),
        (replace(BASIS, grown={("resize", "webp-lossless"): 1.04}), True),
        (replace(BASIS, grown={("resize", "webp-lossless"): 1.2}), False),
        (replace(BASIS, grown={("resize", "jpeg75"): 0.9}), False),
        (replace(BASIS, segments=SegmentTimes()), False),
        (replace(BASIS, edge=Profile(KEY, EDGE.unit_ms)), False),
    ],
)
def test_frontiers_hold_until_something_they_were_built_from_has_changed(now: Basis, holds: bool) -> None:
    """Sizes may change by a twentieth; another profile, or another measured segment, is a change at once."""
    assert BASIS.still_holds(now) is holds


def test_frontiers_are_built_for_frames_of_the_basis_size() -> None:
    """The closed sets are the same ones, the frame's bytes those that were seen; nothing lossy unless allowed."""
    first = Frontiers.build(GRAPH, BASIS, frozenset())
    again = Frontiers.build(GRAPH, replace(BASIS, frame_bytes=7), frozenset(), first.sets)
    assert first.sets.graph[GRAPH.source].output_bytes == 100_000
    assert again.sets.graph[GRAPH.source].output_bytes == 7
    assert again.sets.members is first.sets.members
    assert first.lossy is None


def test_frontiers_are_built_anew_when_a_codecs_lengths_are_those_of_the_profile_again() -> None:
    """What made them longer is long ago: it is among the new ones no more."""
    longer = replace(BASIS, grown={("resize", "webp-lossless"): 1.8})
    assert not longer.still_holds(replace(BASIS, grown={}))
    assert longer.still_holds(longer)


def test_a_model_with_too_many_cuts_is_planned_with_those_along_its_own_order(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody's own model may have a million: that is no reason not to run it, and it is said once."""
    monkeypatch.setattr(module, "enumerate_closed_sets", partial(enumerate_closed_sets, limit=5))
    first = Frontiers.build(GRAPH, BASIS, frozenset())
    assert len(first.sets) == len(GRAPH)
    assert {"edge-only", "cloud-only"} <= {
        first.lossless.cut(entry).label for entry in range(len(first.lossless))
    }
    Frontiers.build(GRAPH, replace(BASIS, frame_bytes=7), frozenset(), first.sets)
    assert capsys.readouterr().out.count("too many ways") == 1
