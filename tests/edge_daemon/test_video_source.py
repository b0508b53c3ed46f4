"""Facts about video files as sources, on real files: each frame once, gone on with, and given up in the end."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from common import limits
from common.errors import ConfigurationError, SourceError
from edge_daemon import capture_feed
from edge_daemon import video_source as module
from edge_daemon.capture_job import CaptureJob, Ended
from edge_daemon.frame import Frame, FrameQueue, ImageFile, KnownFrame, LatestFrameSlot, VideoFrame
from edge_daemon.frame_counts import FrameEvent, FrameLedger
from edge_daemon.source_address import SourceKind
from edge_daemon.source_state import SourceCondition, SourceProgress
from edge_daemon.video_source import VideoSource, video_file
from tests.edge_daemon.scripted_capture import Scripts, shot
from tests.edge_daemon.videos import index_of, make_video
from tests.event_loop import run, until


class Player:
    """A video source, and what it put into its queue."""

    def __init__(
        self,
        path: Path,
        *,
        done: set[KnownFrame] | None = None,
        latest: bool = False,
        room: int = 100,
        **job: Any,
    ) -> None:
        self.ledger = FrameLedger()
        self.stop = asyncio.Event()
        self.queue: FrameQueue = asyncio.Queue(room)
        if latest:
            self.queue = LatestFrameSlot(lambda _: self.ledger.note(FrameEvent.REPLACED))
        told = {"every": not latest, "paced": latest, **job}
        self.source = VideoSource(
            path,
            SourceProgress("video", str(path), lambda: None),
            CaptureJob(kind=SourceKind.PATH, target=str(path), **told),
            self.queue,
            ledger=self.ledger,
            sampling_fps=0.0,
            done=done or set(),
            first_number=3,
            exit_when_drained=True,
        )

    async def to_the_end(self) -> list[Frame]:
        running = asyncio.create_task(self.source.run(self.stop))
        frames = []
        while (frame := await self.queue.get()) is not None:
            frames.append(frame)
        await running
        return frames


def indices(frames: list[Frame]) -> list[int]:
    return [frame.origin.index for frame in frames if isinstance(frame.origin, VideoFrame)]


def test_every_frame_comes_once_and_in_order(tmp_path: Path) -> None:
    """Through a queue that is smaller than the video; known by the file and its index."""
    path = make_video(tmp_path / "a.mp4", 20)

    async def main() -> None:
        player = Player(path, room=2)
        frames = await player.to_the_end()
        assert [index_of(frame.data) for frame in frames] == indices(frames) == list(range(20))
        assert [frame.number for frame in frames] == list(range(3, 23))
        assert frames[4].origin == VideoFrame(video_file(path), 4)
        assert frames[4].origin.name == "a.mp4#4"
        assert player.ledger.counts.seen == 20
        assert player.source.state.condition is SourceCondition.ENDED

    run(main())


def test_what_has_its_result_is_not_done_again(tmp_path: Path) -> None:
    """But a file that was written anew under the name is another video."""
    path = make_video(tmp_path / "a.mp4", 12)
    done: set[KnownFrame] = {VideoFrame(video_file(path), index) for index in (0, 1, 2, 4)}

    async def main() -> None:
        assert indices(await Player(path, done=done).to_the_end()) == [3, *range(5, 12)]
        os.utime(path, (1, 1))
        assert indices(await Player(path, done=done).to_the_end()) == list(range(12))

    run(main())


def test_a_rate_thins_a_video_alike_with_and_without_a_break(tmp_path: Path) -> None:
    """Each frame that was to be taken, and no other."""
    path = make_video(tmp_path / "a.mp4", 20, fps=10)

    async def main() -> None:
        whole = indices(await Player(path, thin_to_fps=2.5).to_the_end())
        assert whole == [0, 4, 8, 12, 16]
        done: set[KnownFrame] = {VideoFrame(video_file(path), index) for index in whole[:2]}
        assert indices(await Player(path, done=done, thin_to_fps=2.5).to_the_end()) == whole[2:]

    run(main())


def test_a_process_that_is_killed_in_the_middle_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """The next one goes on behind the last frame that was taken."""
    path = make_video(tmp_path / "a.mp4", 20)

    async def main() -> None:
        player = Player(path, room=1)
        running = asyncio.create_task(player.source.run(player.stop))
        frames = []
        while (frame := await player.queue.get()) is not None:
            frames.append(frame)
            if len(frames) in (5, 11):
                assert player.source.feed is not None
                assert player.source.feed.pid is not None
                os.kill(player.source.feed.pid, signal.SIGKILL)
        await running
        assert indices(frames) == list(range(20))
        assert player.source.state.restarts == 2

    run(main())


def test_a_video_that_is_played_gives_the_newest_frame_in_its_own_time(tmp_path: Path) -> None:
    """As if it were a camera: whoever is slow misses some, and they are counted."""
    path = make_video(tmp_path / "a.mp4", 20, fps=20)

    async def main() -> None:
        player = Player(path, latest=True)
        running = asyncio.create_task(player.source.run(player.stop))
        began, frames = time.monotonic(), []
        while (frame := await player.queue.get()) is not None:
            frames.append(frame)
            await asyncio.sleep(0.2)
        await running
        assert time.monotonic() - began >= 19 / 20
        found = indices(frames)
        assert found == sorted(set(found))
        assert 1 <= len(found) < 20
        counts = player.ledger.counts
        assert counts.seen == counts.dropped_stale + len(found) == 20

    run(main())


@pytest.mark.parametrize("content", [b"", b"no video" * 100])
def test_a_file_that_is_no_video_is_the_operators_to_mend(tmp_path: Path, content: bytes) -> None:
    """The run ends with the name of the setting."""
    path = tmp_path / "a.mp4"
    path.write_bytes(content)

    async def main() -> None:
        player = Player(path)
        with pytest.raises(ExceptionGroup) as error:
            await player.source.run(player.stop)
        assert error.group_contains(
            ConfigurationError, match=r"CLEAVE_EDGE_SOURCE=.*a.mp4: no video that can be"
        )

    run(main())


def test_a_video_on_which_the_process_dies_again_and_again_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not as long as it gets on: three times without one more frame, and the rest is said to be given up."""
    path = make_video(tmp_path / "a.mp4", 3)
    scripts = Scripts()
    monkeypatch.setattr(capture_feed, "capturing", scripts.capturing)

    async def main() -> None:
        player = Player(path)
        ended = asyncio.create_task(player.to_the_end())
        for attempt in range(5):
            await until(lambda: len(scripts.processes) == attempt + 1)  # noqa: B023
            process = scripts.processes[-1]
            if attempt < 3:
                await until(lambda: process.asked == 1)  # noqa: B023
                process.say(shot(attempt))
            process.say(Ended("crashed"))
        assert indices(await ended) == [0, 1, 2]
        assert scripts.processes[-1].job.skip == ((0, 2),)
        said = capsys.readouterr().out
        assert said.count("the rest of the video is given up") == 1

    run(main())


def test_a_file_that_changes_meanwhile_is_not_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its frames would be taken for another one's."""
    path = make_video(tmp_path / "a.mp4", 3)
    scripts = Scripts()
    monkeypatch.setattr(capture_feed, "capturing", scripts.capturing)

    async def main() -> None:
        player = Player(path)
        ended = asyncio.create_task(player.to_the_end())
        await until(lambda: bool(scripts.processes))
        os.utime(path, (1, 1))
        scripts.processes[0].say(Ended("crashed"))
        assert await ended == []
        assert len(scripts.processes) == 1
        assert player.source.state.last_error == "the file is another one now"

    run(main())


def test_a_video_whose_share_goes_away_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """However long, with a pause between two looks; it is said once, and what failed meanwhile is not the video's."""
    path = make_video(tmp_path / "a.mp4", 3)
    scripts = Scripts()
    monkeypatch.setattr(capture_feed, "capturing", scripts.capturing)
    look, away, looks = module.look_at_video, False, 0
    pauses: list[int] = []

    def look_at(path: Path) -> ImageFile:
        nonlocal looks
        looks += away
        if away:
            raise OSError(errno.ESTALE, "Stale file handle")
        return look(path)

    def pause(failures: int, rng: random.Random) -> float:
        pauses.append(failures)
        return 0.0

    monkeypatch.setattr(module, "look_at_video", look_at)
    monkeypatch.setattr(module, "restart_delay_s", pause)

    async def main() -> None:
        nonlocal away
        player = Player(path)
        ended = asyncio.create_task(player.to_the_end())
        for attempt in range(limits.CAPTURE_GIVE_UP + 1):
            await until(lambda: len(scripts.processes) == attempt + 1)  # noqa: B023
            before, away = looks, True
            pauses.clear()
            scripts.processes[-1].say(Ended("Input/output error"))
            await until(lambda: looks >= before + 5)  # noqa: B023
            assert pauses[:5] == [1, 1, 2, 3, 4]
            state = player.source.state
            assert (state.condition, state.last_error) == (SourceCondition.WAITING, "Stale file handle")
            away = False
        await until(lambda: len(scripts.processes) == limits.CAPTURE_GIVE_UP + 2)
        await until(lambda: scripts.processes[-1].asked == 1)
        scripts.processes[-1].say(shot(0), Ended("end", finished=True))
        assert indices(await ended) == [0]

    run(main())
    said = capsys.readouterr().out
    assert said.count("waiting until it can be") == limits.CAPTURE_GIVE_UP + 1
    assert "given up" not in said


@pytest.mark.parametrize(
    ("number", "kind", "says"),
    [
        (errno.EACCES, ConfigurationError, "Permission denied; let the daemon's user read it"),
        (errno.EIO, SourceError, "Input/output error"),
    ],
)
def test_a_video_that_cannot_be_read_at_the_start_says_whose_fault_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception], says: str
) -> None:
    """What may not be read is the operator's to mend; a share in trouble is worth another start."""
    path = make_video(tmp_path / "a.mp4", 3)

    def refuse(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refuse)
        with pytest.raises(kind, match=f"CLEAVE_EDGE_SOURCE=.*a.mp4: it cannot be read: {says}") as error:
            video_file(path)
    assert type(error.value) is kind


def test_a_share_that_hangs_holds_neither_the_stop_nor_the_end_of_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event loop goes on while the video's file is looked at, and nobody waits for that."""
    path = make_video(tmp_path / "a.mp4", 3)
    hangs, released = threading.Event(), threading.Event()
    came_back: list[bool] = []

    def hang(path: Path) -> ImageFile:
        hangs.set()
        came_back.append(released.wait(20.0))  # for ever, but a test that fails should end
        return video_file(path)

    async def main() -> None:
        player = Player(path)
        monkeypatch.setattr(module, "look_at_video", hang)
        ended = asyncio.create_task(player.to_the_end())
        await until(hangs.is_set)
        player.stop.set()
        assert await ended == []

    run(main())
    assert came_back == []
    released.set()
