"""Facts about cameras and streams as sources: restarts, counts, and frames that are the newest."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator

import pytest

from common.errors import SourceError
from edge_daemon import camera_source, capture_feed
from edge_daemon.camera_source import CameraSource
from edge_daemon.capture_job import CaptureJob, Ended, Told
from edge_daemon.frame import Frame, LatestFrameSlot, LiveFrame
from edge_daemon.frame_counts import FrameEvent, FrameLedger
from edge_daemon.source_address import SourceKind
from edge_daemon.source_state import SourceCondition, SourceProgress
from tests.edge_daemon.scripted_capture import GONE, Scripts, shot
from tests.event_loop import run, until

JOB = CaptureJob(kind=SourceKind.RTSP, target="rtsp://cam")


class Camera:
    """A camera source on scripted processes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, scripts: Scripts | None = None) -> None:
        self.scripts = scripts or Scripts()
        monkeypatch.setattr(capture_feed, "capturing", self.scripts.capturing)
        monkeypatch.setattr(camera_source, "restart_delay_s", lambda failures, rng: 0.001)
        self.stop = asyncio.Event()
        self.ledger = FrameLedger()
        self.slot = LatestFrameSlot(lambda _: self.ledger.note(FrameEvent.REPLACED))
        self.failing: str | None = None
        self.source = CameraSource(
            SourceProgress("rtsp", "rtsp://cam", lambda: None),
            self._job,
            self.slot,
            ledger=self.ledger,
            sampling_fps=0.0,
            first_number=7,
            rng=random.Random(1),
        )

    def _job(self) -> CaptureJob:
        if self.failing is not None:
            raise SourceError(self.failing)
        return JOB

    @contextlib.asynccontextmanager
    async def going(self) -> AsyncIterator[Camera]:
        task = asyncio.create_task(self.source.run(self.stop))
        yield self
        self.stop.set()
        await task
        assert await self.slot.get() is None, "nothing comes after the end"
        assert all(process.ended for process in self.scripts.processes)

    async def next(self) -> Frame:
        frame = await self.slot.get()
        assert frame is not None
        return frame


def test_a_frame_is_taken_when_a_lane_waits_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not before: it would grow old in the slot."""

    async def main() -> None:
        async with Camera(monkeypatch).going() as camera:
            await until(lambda: bool(camera.scripts.processes))
            await asyncio.sleep(0.01)
            process = camera.scripts.processes[0]
            assert process.asked == 0
            waiting = asyncio.create_task(camera.next())
            await until(lambda: process.asked == 1)
            process.say(Told(4, 3), shot(3))
            frame = await waiting
            assert (frame.number, frame.origin, bytes(frame.data)) == (7, LiveFrame("rtsp://cam", 1), b"3")
            assert await camera.source.first_data == b"3"
            counts = camera.ledger.counts
            assert (counts.seen, counts.waiting, counts.dropped_stale) == (4, 1, 3)

    run(main())


def test_a_camera_that_fails_is_started_anew_and_frames_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As often as that happens; a reason that stays the same is said once, and so is the end of it."""

    async def main() -> None:
        async with Camera(monkeypatch).going() as camera:
            for attempt in range(5):
                await until(lambda: len(camera.scripts.processes) == attempt + 1)  # noqa: B023
                camera.scripts.processes[-1].say(GONE)
            await until(lambda: len(camera.scripts.processes) == 6)
            process = camera.scripts.processes[-1]
            waiting = asyncio.create_task(camera.next())
            process.say(Told(1, 0))
            await until(lambda: process.asked == 1)
            process.say(shot(0))
            assert (await waiting).number == 7
            state = camera.source.state
            assert (state.condition, state.restarts, state.last_error) == (SourceCondition.FLOWING, 5, "gone")
        assert str(camera.source.state.condition) == "ended"
        said = capsys.readouterr().out
        assert said.count("the source gives no frames") == 1
        assert said.count("the source gives frames") == 1

    run(main())


def test_another_reason_is_news(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """First nobody listened, then the password was wrong."""

    async def main() -> None:
        async with Camera(monkeypatch).going() as camera:
            for attempt, reason in enumerate(("refused", "refused", "unauthorized")):
                await until(lambda: len(camera.scripts.processes) == attempt + 1)  # noqa: B023
                camera.scripts.processes[-1].say(Ended(reason))
            await until(lambda: len(camera.scripts.processes) == 4)
        said = capsys.readouterr().out
        assert [said.count(f"reason={reason}") for reason in ("refused", "unauthorized")] == [1, 1]

    run(main())


def test_credentials_that_cannot_be_read_are_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret may be replaced while the daemon runs."""

    async def main() -> None:
        camera = Camera(monkeypatch)
        camera.failing = "no such file"
        async with camera.going():
            await until(lambda: camera.source.state.last_error == "no such file")
            assert camera.scripts.processes == []
            camera.failing = None
            await until(lambda: bool(camera.scripts.processes))

    run(main())


def test_a_frame_without_a_picture_has_its_record_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the reason."""

    async def main() -> None:
        async with Camera(monkeypatch).going() as camera:
            waiting = asyncio.create_task(camera.next())
            await until(lambda: bool(camera.scripts.processes) and camera.scripts.processes[0].asked == 1)
            camera.scripts.processes[0].say(shot(0, error="a damaged JPEG"))
            frame = await waiting
            assert frame.error == "a damaged JPEG"
            assert not camera.source.first_data.done()

    run(main())
