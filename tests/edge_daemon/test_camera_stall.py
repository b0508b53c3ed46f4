"""Facts about a real RTSP server that stands still: it is found out, and used again when it goes on."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path

import pytest

from common import limits
from edge_daemon.camera_source import CameraSource
from edge_daemon.capture_job import CaptureJob
from edge_daemon.frame import LatestFrameSlot
from edge_daemon.frame_counts import FrameEvent, FrameLedger
from edge_daemon.source_address import SourceKind
from edge_daemon.source_state import SourceProgress
from tests.chaos.cameras import Camera
from tests.event_loop import run, until


def test_a_server_that_stands_still_is_found_out_and_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds its connections and accepts new ones (the kernel does), and says nothing."""

    async def main() -> None:
        camera = Camera(tmp_path)
        await camera.start()
        ledger, stop = FrameLedger(), asyncio.Event()
        slot = LatestFrameSlot(lambda _: ledger.note(FrameEvent.REPLACED))
        source = CameraSource(
            SourceProgress("rtsp", camera.url, lambda: None),
            lambda: CaptureJob(kind=SourceKind.RTSP, target=camera.url, host=("127.0.0.1", camera.port)),
            slot,
            ledger=ledger,
            sampling_fps=0.0,
            first_number=0,
        )
        running = asyncio.create_task(source.run(stop))
        try:
            assert await slot.get() is not None
            camera.send_signal(signal.SIGSTOP)
            monkeypatch.setattr(limits, "CAPTURE_STALL_S", 1.0)
            await until(lambda: source.state.restarts > 0)
            assert source.state.last_error == "no frame in 1 s"
            monkeypatch.setattr(limits, "CAPTURE_STALL_S", 20.0)
            with contextlib.suppress(TimeoutError):  # what was on its way
                await asyncio.wait_for(slot.get(), 0.1)
            camera.send_signal(signal.SIGCONT)
            assert await slot.get() is not None
        finally:
            stop.set()
            await running
            await camera.kill()

    run(main())
