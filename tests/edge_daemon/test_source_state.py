"""Facts about what the status says of a source."""

from __future__ import annotations

import pytest

from edge_daemon.source_state import FrameRate, SourceCondition, SourceProgress


def test_a_source_tells_what_it_is_at_and_what_went_wrong() -> None:
    """From opening to flowing, and after a failure; each change is told once."""
    changes: list[str] = []
    progress = SourceProgress("rtsp", "rtsp://cam", lambda: changes.append(str(progress.state.condition)))
    assert progress.state.to_status() == {
        "kind": "rtsp",
        "name": "rtsp://cam",
        "condition": "opening",
        "for_s": 0.0,
        "restarts": 0,
        "last_error": None,
        "fps": None,
    }
    progress.told(10.0, 0)
    for second in range(11, 14):
        progress.told(float(second), 5 * (second - 10))
    assert progress.state.condition is SourceCondition.FLOWING
    assert progress.state.fps == pytest.approx(5.0)
    assert progress.failed("gone")
    assert not progress.failed("gone"), "no news"
    assert progress.failed("refused")
    state = progress.state
    assert (state.restarts, state.last_error, state.fps) == (3, "refused", None)
    progress.become(SourceCondition.OPENING)
    assert changes == ["flowing", "waiting", "opening"]


def test_a_rate_is_that_of_the_last_seconds() -> None:
    """Not of all time; and a count that begins anew is no negative rate."""
    rate = FrameRate()
    assert rate.fps() is None
    for second in range(100):
        rate.add(float(second), second * 30)
    assert rate.fps() == pytest.approx(30.0)
    for second in range(100, 110):
        rate.add(float(second), 99 * 30)
    assert rate.fps() == 0.0
    rate.add(110.0, 5)
    assert rate.fps() is None
    rate.add(111.0, 10)
    assert rate.fps() == pytest.approx(5.0)
