"""What shows that the edge's work goes on, and what it says of itself in one line. Decisions only."""

from __future__ import annotations

from common.standstill import PartSeen
from edge_daemon.frame_counts import FrameCounts


def frames_seen(counts: FrameCounts, trouble: str | None, most_s: float) -> PartSeen:
    """Return how the frames' way is seen: it moves when a frame has its end.

    Records that a full disk does not take (`trouble`) are waited for by design, and told: no new process would help.
    """
    on_the_way = counts.waiting + counts.in_flight + counts.recording
    done = counts.seen - on_the_way
    return PartSeen(name="the frames' way", done=done, busy=on_the_way > 0 and trouble is None, most_s=most_s)


def source_seen(looks: int | None, queue_full: bool, sampling_fps: float, most_s: float) -> PartSeen:
    """Return how the source is seen: it moves with each look for a frame, and an idle one looks each second.

    Where the queue is full it waits for the frames' way, and between two frames for the sampling rate. A camera's
    process (`looks` is none) is watched, and started anew, by the daemon itself.
    """
    period_s = 1 / sampling_fps if sampling_fps else 0.0
    return PartSeen(
        name="the source",
        done=looks or 0,
        busy=looks is not None and not queue_full,
        most_s=most_s + period_s,
    )


def status_line(cut: str, link_available: bool, bandwidth_bps: float | None, counts: FrameCounts) -> str:
    """Say in one line what the edge does: its cut, the link, how many frames are answered."""
    rate = f" at {bandwidth_bps / 1e6:.3g} Mbit/s" if link_available and bandwidth_bps else ""
    link = f"cloud connected{rate}" if link_available else "no cloud"
    failed = f", {counts.failed} failed" if counts.failed else ""
    return f"{cut}; {link}; {counts.answered} frames answered{failed}"
