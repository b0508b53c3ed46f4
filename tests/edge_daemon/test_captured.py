"""Facts about which frames of a video are wanted, and about looking whether a camera is there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.pair import free_port
from common.errors import SourceError
from edge_daemon.capture_job import CaptureJob
from edge_daemon.captured import Captured, Selection, connect_first
from edge_daemon.source_address import SourceKind


def test_a_host_where_nobody_listens_is_told_at_once() -> None:
    """Before PyAV is even imported."""
    with pytest.raises(SourceError, match=r"127.0.0.1 port \d+: Connection refused"):
        connect_first(("127.0.0.1", free_port()))
    with pytest.raises(SourceError, match=r"no-such-host.invalid port 554: .+"):
        connect_first(("no-such-host.invalid", 554))


def selected(job: CaptureJob, positions: list[float]) -> list[int]:
    selection = Selection(job)
    frames = [Captured(i, position, 0.0, bytes) for i, position in enumerate(positions)]
    return [frame.index for frame in frames if selection.takes(frame)]


def test_what_is_done_is_left_out_and_the_rest_thinned() -> None:
    """A run that is gone on with takes exactly what one without a break would have taken."""
    job = CaptureJob(kind=SourceKind.PATH, target="x", every=True)
    positions = [i / 30 for i in range(24)]
    assert selected(job, positions) == list(range(24))
    assert selected(replace(job, skip=((0, 4), (6, 6))), positions) == [5, *range(7, 24)]
    assert selected(replace(job, thin_to_fps=5.0), positions) == [0, 6, 12, 18]
    assert selected(replace(job, thin_to_fps=5.0, skip=((0, 0), (12, 12))), positions) == [6, 18]
