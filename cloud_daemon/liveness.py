"""What shows that the cloud's work goes on, and what it says of itself in one line. Decisions only."""

from __future__ import annotations

from collections.abc import Sequence

from common.standstill import PartSeen


def frames_seen(held: int, ended: int, most_s: float) -> PartSeen:
    """Return how the frames' queue is seen: it moves when frames leave it, with an answer or without."""
    return PartSeen(name="the frames' queue", done=ended, busy=held > 0, most_s=most_s)


def status_line(models: Sequence[str], edges: int, ended: int) -> str:
    """Say in one line what the cloud does: its models, its edges, how many frames it has run."""
    connected = "1 edge" if edges == 1 else f"{edges} edges"
    return f"{', '.join(models)}; {connected} connected; {ended} frames run"
