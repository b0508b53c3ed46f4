"""Facts about capturing processes, real ones: nothing is left of them, however they end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from common.errors import SourceError
from edge_daemon.capture import capturing
from edge_daemon.capture_job import CaptureJob, Ended, Message, Shot, Told
from edge_daemon.source_address import SourceKind
from tests.edge_daemon.videos import index_of, make_video
from tests.event_loop import run


def video_job(path: Path) -> CaptureJob:
    return CaptureJob(kind=SourceKind.PATH, target=str(path), every=True)


def test_a_videos_frames_come_through_and_nothing_is_left(tmp_path: Path) -> None:
    """One for each that is asked for, then the end; afterwards no process, no descriptor."""
    video = make_video(tmp_path / "a.mp4", 4)

    async def main() -> None:
        async with capturing(video_job(video)):  # what the loop opens once stays
            pass
        before = psutil.Process().num_fds()
        found: list[int] = []
        async with capturing(video_job(video)) as process:
            child = psutil.Process(process.pid)
            process.ask()
            while not isinstance((received := await process.receive())[0], Ended):
                message, jpeg = received
                if isinstance(message, Shot):
                    assert message.index == index_of(jpeg)
                    found.append(message.index)
                    process.ask()
            assert received[0] == Ended("the stream ended", finished=True)
        assert found == [0, 1, 2, 3]
        assert not child.is_running()
        await asyncio.sleep(0)
        assert psutil.Process().num_fds() == before

    run(main())


def test_no_secret_is_in_a_process_list(tmp_path: Path) -> None:
    """Arguments and environment of a process may be read by others; what it is told on its socket not."""

    async def main() -> None:
        job = CaptureJob(
            kind=SourceKind.RTSP, target="rtsp://me:hushhush@127.0.0.1:9/x", host=("127.0.0.1", 9)
        )
        async with capturing(job) as process:
            child = psutil.Process(process.pid)
            assert "edge_daemon.capture_child" in child.cmdline()
            assert "hushhush" not in str(child.cmdline()) + str(child.environ())
            message: Message = Told(0, 0)
            while isinstance(message, Told):
                message, _ = await process.receive()
        assert message == Ended("127.0.0.1 port 9: Connection refused")

    run(main())


def test_one_that_is_killed_says_so(tmp_path: Path) -> None:
    """A crash in a decoder is no more than the end of its process."""

    async def main() -> None:
        async with capturing(video_job(make_video(tmp_path / "a.mp4", 4))) as process:
            os.kill(process.pid, signal.SIGSEGV)
            message, _ = await process.receive()
            while isinstance(message, Told):
                message, _ = await process.receive()
            assert message == Ended("the capturing process ended with status -11")

    run(main())


@pytest.fixture
def instead(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a program of the test's in the place of the capturing process."""
    start = asyncio.create_subprocess_exec

    def run_instead(program: str) -> None:
        async def started(*arguments: str, **options: Any) -> asyncio.subprocess.Process:
            return await start(sys.executable, "-c", program, *arguments[3:], **options)

        monkeypatch.setattr(asyncio, "create_subprocess_exec", started)

    return run_instead


def test_a_crash_is_told_with_its_last_words(instead: Any) -> None:
    """Without secrets; and however much was written before, nobody had to wait."""
    instead("import sys; sys.stderr.write('x' * 10**6 + '\\nError: rtsp://u:hush@cam/x\\n'); sys.exit(3)")

    async def main() -> None:
        async with capturing(CaptureJob(kind=SourceKind.RTSP, target="x")) as process:
            message, _ = await process.receive()
        assert isinstance(message, Ended)
        assert message.reason == "the capturing process ended with status 3: Error: rtsp://***@cam/x"

    run(main())


def test_one_that_cannot_be_started_is_tried_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """No memory, too many processes: the source is at fault for a while, not the daemon."""

    async def refused(*_: str, **options: Any) -> asyncio.subprocess.Process:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", refused)

    async def main() -> None:
        before = psutil.Process().num_fds()
        with pytest.raises(SourceError, match="no capturing process can be started: Resource temporarily"):
            async with capturing(CaptureJob(kind=SourceKind.RTSP, target="x")):
                pass
        assert psutil.Process().num_fds() == before

    run(main())


def test_one_that_hangs_and_ignores_everything_is_killed(instead: Any) -> None:
    """At the end of its context."""
    instead("import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)")

    async def main() -> None:
        async with capturing(CaptureJob(kind=SourceKind.RTSP, target="x")) as process:
            child = psutil.Process(process.pid)
        assert not child.is_running()

    run(main())


DAEMON = """
import asyncio, os, sys
from edge_daemon.capture import capturing
from edge_daemon.capture_job import CaptureJob
from edge_daemon.source_address import SourceKind

async def main():
    async with capturing(CaptureJob(kind=SourceKind.PATH, target=sys.argv[1], every=True)) as process:
        process.ask()
        await process.receive()
        print(process.pid, flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


def start_daemon(arguments: Sequence[str]) -> tuple[subprocess.Popen[str], psutil.Process]:
    daemon = subprocess.Popen([sys.executable, "-c", DAEMON, *arguments], stdout=subprocess.PIPE, text=True)
    assert daemon.stdout is not None
    return daemon, psutil.Process(int(daemon.stdout.readline()))


def test_none_outlives_a_daemon_that_is_killed(tmp_path: Path) -> None:
    """kill -9 runs no clean-up: the kernel sees to it."""
    daemon, child = start_daemon([str(make_video(tmp_path / "a.mp4", 4))])
    with contextlib.closing(daemon.stdout or sys.stdin):
        daemon.kill()
        daemon.wait(10)
    _, alive = psutil.wait_procs([child], timeout=10)
    assert not alive
