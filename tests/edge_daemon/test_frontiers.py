"""Facts about what the frontiers are built from, and when they must be built anew."""

from __future__ import annotations

from dataclasses import replace

import pytest

from common.partition.segment_times import SegmentTimes
from common.profile import Profile, ProfileKey
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
