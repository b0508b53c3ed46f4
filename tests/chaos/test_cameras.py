"""Facts about a camera that goes and comes back, told by a real daemon and a real RTSP server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.chaos.cameras import Camera, rounds


@pytest.mark.timeout(180)
def test_a_camera_that_is_killed_and_returns_five_times_costs_only_its_own_frames(tmp_path: Path) -> None:
    """Frames resume, the daemon goes on telling its status, and descriptors, threads and children stay as many."""
    seen = asyncio.run(rounds(tmp_path, Camera(tmp_path), 5, frozen=False))
    print(seen.say())
    assert len(seen.resumed_s) == 5
    assert max(seen.resumed_s) <= 5.0
    assert seen.longest_pause_s < 5.0
