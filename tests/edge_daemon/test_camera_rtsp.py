"""Facts about a real RTSP server: one that asks for a password, and one that stands still."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import signal
from pathlib import Path

import pytest
from PIL import Image

from common import limits
from edge_daemon.camera_source import CameraSource
from edge_daemon.capture import capturing
from edge_daemon.capture_job import CaptureJob, Ended, Shot, Told
from edge_daemon.frame import LatestFrameSlot
from edge_daemon.frame_counts import FrameEvent, FrameLedger
from edge_daemon.picture_edit import PictureEdit
from edge_daemon.source_address import Credentials, SourceAddress, SourceKind
from edge_daemon.source_state import SourceProgress
from tests.chaos.cameras import Camera
from tests.event_loop import run, until
from tests.rtsp_server import RtspServer, write_video


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


@pytest.mark.parametrize("password", ["p@ss/w:rd", "wrong"])
def test_a_camera_that_asks_for_a_password_gets_it(tmp_path: Path, password: str) -> None:
    """Whatever characters it has; without the right one the reason is told, and has no password in it."""
    video = json.loads(write_video(tmp_path / "camera.json").read_text())
    frames = [[base64.b64decode(nal) for nal in frame] for frame in video]
    camera = RtspServer(frames, user="me:p@ss/w:rd")

    async def main() -> None:
        async with await asyncio.start_server(camera.serve, "127.0.0.1", 0) as server:
            address = SourceAddress.parse(f"rtsp://127.0.0.1:{server.sockets[0].getsockname()[1]}/live")
            assert isinstance(address, SourceAddress)
            async with capturing(
                CaptureJob.of(address, Credentials("me", password), PictureEdit())
            ) as process:
                process.ask()
                message, jpeg = await process.receive()
                while isinstance(message, Told):
                    message, jpeg = await process.receive()
        if password == "wrong":
            assert isinstance(message, Ended)
            assert message.reason == "Server returned 401 Unauthorized (authorization failed)"
        else:
            assert isinstance(message, Shot)
            assert Image.open(io.BytesIO(jpeg)).size == (320, 240)

    run(main())
