"""Facts about what shows that the edge's work goes on."""

from __future__ import annotations

from edge_daemon.frame_counts import FrameCounts
from edge_daemon.liveness import frames_seen, source_seen, status_line


def test_frames_move_when_one_has_its_end_however_it_ends() -> None:
    """Answered, failed, dropped: all of these are progress; being seen, begun or processed is none."""
    on_the_way = FrameCounts(seen=3, waiting=1, in_flight=1, recording=1)
    assert frames_seen(on_the_way, None, 9.0).done == 0
    ended = FrameCounts(seen=5, answered=1, failed=1, dropped_stale=1, dropped_unrecorded=1, waiting=1)
    assert frames_seen(ended, None, 9.0).done == 4


def test_frames_are_busy_while_any_is_on_its_way() -> None:
    """Wherever on it; with none there is nothing to do."""
    for place in ("waiting", "in_flight", "recording"):
        assert frames_seen(FrameCounts(**{"seen": 1, place: 1}), None, 9.0).busy
    assert not frames_seen(FrameCounts(seen=1, answered=1), None, 9.0).busy


def test_a_disk_that_takes_no_records_is_no_standstill() -> None:
    """Frames wait for it by design, and a new process would wait, too."""
    assert not frames_seen(FrameCounts(seen=1, recording=1), "No space left on device", 9.0).busy


def test_the_source_is_busy_unless_it_waits_for_the_queue() -> None:
    """And between two frames it may rest as long as the sampling rate says."""
    assert source_seen(7, queue_full=False, sampling_fps=0.0, most_s=9.0).busy
    assert not source_seen(7, queue_full=True, sampling_fps=0.0, most_s=9.0).busy
    assert source_seen(7, queue_full=False, sampling_fps=0.01, most_s=9.0).most_s == 109.0


def test_the_status_is_what_somebody_wants_to_know_first() -> None:
    """The cut, the link with its bandwidth, the count; failures only if there are some."""
    counts = FrameCounts(seen=12, answered=12)
    assert status_line("after layer2", True, 23.5e6, counts) == (
        "after layer2; cloud connected at 23.5 Mbit/s; 12 frames answered"
    )
    assert status_line("edge-only", False, 23.5e6, FrameCounts(seen=2, failed=2)) == (
        "edge-only; no cloud; 0 frames answered, 2 failed"
    )


def test_a_camera_is_not_the_watchdogs_concern() -> None:
    """The daemon watches its process by itself: it never looks as if it stood still."""
    assert not source_seen(None, False, 5.0, 60.0).busy
