"""Facts about what is remembered for the page: the past by seconds, the latest frames one by one, all bounded."""

from __future__ import annotations

import pytest

from edge_daemon.history import FRAMES, SECONDS, FrameTimes, History
from edge_daemon.results import Durations
from tests.edge_daemon.records import record


def took(ms: float) -> Durations:
    return Durations(queue_ms=1.0, head_ms=ms, total_ms=ms)


def test_frames_of_one_second_are_one_point() -> None:
    """With their mean and the worst; frames that failed have no latency."""
    history = History(lambda: 0.0)
    for at, ms in ((100.1, 10.0), (100.9, 30.0), (102.0, 5.0)):
        history.saw(record(answered_at=at, durations=took(ms)))
    history.saw(record(answered_at=102.5, durations=took(999.0), error="no image"))
    assert history.latencies() == [(100, 20.0, 30.0), (102, 5.0, 5.0)]
    assert history.latencies(since=101) == [(102, 5.0, 5.0)]
    assert history.recent() | {"answered_per_s": None} == {
        "answered_per_s": None,
        "median_ms": 10.0,
        "worst_ms": 30.0,
        "frames": 3,
    }


def test_it_is_bounded_whatever_comes() -> None:
    """A day of frames takes no more memory than a quarter of an hour."""
    history = History(lambda: 0.0)
    for second in range(3 * SECONDS):
        history.saw(record(second, answered_at=float(second)))
        history.saw_bandwidth(float(second), 1e6)
    assert len(history.latencies()) == len(history.bandwidths()) == SECONDS
    assert len(history.frames) == FRAMES
    assert history.frames[-1].number == 3 * SECONDS - 1


def test_who_looks_again_gets_what_is_new() -> None:
    """Each frame once, and no more than are remembered."""
    history = History(lambda: 0.0)
    assert history.new_frames(0) == []
    for number in range(5):
        history.saw(record(number))
    assert [frame.number for frame in history.new_frames(3)] == [3, 4]
    assert history.new_frames(5) == []
    for number in range(5, 5 + 2 * FRAMES):
        history.saw(record(number))
    assert len(history.new_frames(5)) == FRAMES


def test_a_link_that_is_gone_carries_nothing() -> None:
    """And a second is told of once."""
    history = History(lambda: 0.0)
    history.saw_bandwidth(10.2, 5e6)
    history.saw_bandwidth(10.9, 6e6)
    history.saw_bandwidth(11.0, None)
    assert history.bandwidths() == [(10, 5e6), (11, 0.0)]


def test_a_frame_is_told_by_its_parts() -> None:
    """In ms from its beginning, which is when its wait was over; parts that it did not have are left out."""
    shown = FrameTimes.of(record(3)).to_page()
    assert shown["n"] == 3
    assert shown["began"] == pytest.approx(10.0e3 + 0.1, abs=0.01)
    assert shown["parts"] == {"head": 5.12, "encode": 0.2, "link": 8.0, "tail": 3.0}
    assert shown["total"] == 16.4
    alone = FrameTimes.of(record(4, ran="edge", durations=took(7.0), error=None)).to_page()
    assert alone["parts"] == {"head": 7.0}
