"""Facts about one run of a capturing process: when frames are asked for, and what is done about silence."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest

from common import limits
from common.errors import SourceError
from edge_daemon import capture_feed as module
from edge_daemon.capture_feed import CaptureFeed, FeedEvents
from edge_daemon.capture_job import CaptureJob, Ended, Shot, Told
from edge_daemon.source_address import SourceKind
from tests.edge_daemon.scripted_capture import GONE, ScriptedProcess, Scripts, shot
from tests.event_loop import run, until

CAMERA = CaptureJob(kind=SourceKind.RTSP, target="rtsp://cam")
PLAYED = CaptureJob(kind=SourceKind.PATH, target="/a.mp4", paced=True)
VIDEO = CaptureJob(kind=SourceKind.PATH, target="/a.mp4", every=True)


class Feed:
    """A feed at work on a scripted process, and what it has told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, job: CaptureJob = CAMERA, **options: Any) -> None:
        self.scripts = Scripts()
        monkeypatch.setattr(module, "capturing", self.scripts.capturing)
        self.taken: list[int] = []
        self.taking = False
        self.told: list[tuple[int, int]] = []
        self.may_ask = asyncio.Event()
        self.may_take = asyncio.Event()
        self.may_ask.set()
        self.may_take.set()
        events = FeedEvents(
            ready=self._ready,
            take=self._take,
            told=lambda now, captured, passed_over: self.told.append((captured, passed_over)),
        )
        self.feed = CaptureFeed(job, events, lambda: options.get("period_s", 0.0))
        self.ended = asyncio.create_task(self.feed.run())

    async def _ready(self) -> None:
        await self.may_ask.wait()

    async def _take(self, shot: Shot, jpeg: memoryview) -> None:
        self.taking = True
        await self.may_take.wait()
        assert bytes(jpeg) == b"%d" % shot.index
        self.taken.append(shot.index)

    async def process(self) -> ScriptedProcess:
        await until(lambda: bool(self.scripts.processes))
        return self.scripts.processes[0]


def test_a_frame_is_asked_for_when_the_one_before_was_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """And only when somebody can use it."""

    async def main() -> None:
        feed = Feed(monkeypatch)
        process = await feed.process()
        await until(lambda: process.asked == 1)
        feed.may_ask.clear()
        process.say(shot(0))
        await until(lambda: feed.taken == [0])
        await asyncio.sleep(0.01)
        assert process.asked == 1
        feed.may_ask.set()
        await until(lambda: process.asked == 2)
        process.say(shot(5), GONE)
        assert await feed.ended == GONE
        assert (feed.taken, process.ended) == ([0, 5], True)

    run(main())


def test_the_period_passes_between_two_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the process could give them at once."""

    async def main() -> None:
        began = time.monotonic()
        feed = Feed(monkeypatch, period_s=0.05)
        process = await feed.process()
        for index in range(4):
            await until(lambda: process.asked == index + 1)  # noqa: B023
            process.say(shot(index))
        assert (
            time.monotonic() - began >= 3 * 0.05 - 0.01
        )  # the loop's timers may be early by their resolution
        process.say(GONE)
        await feed.ended

    run(main())


def test_what_nobody_will_get_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process counts from its start, the daemon's events count each frame once."""

    async def main() -> None:
        feed = Feed(monkeypatch)
        process = await feed.process()
        process.say(Told(3, 2), Told(10, 9), Told(10, 9), GONE)
        await feed.ended
        assert feed.told == [(3, 2), (10, 7), (10, 0)]
        assert feed.feed.first_at is not None

    run(main())


def test_a_process_that_has_no_frame_for_too_long_has_stalled(monkeypatch: pytest.MonkeyPatch) -> None:
    """It lives, and says so, but nothing comes from the camera."""
    monkeypatch.setattr(limits, "CAPTURE_STALL_S", 0.1)

    async def main() -> None:
        feed = Feed(monkeypatch)
        process = await feed.process()
        process.say(Told(1, 0))
        while not feed.ended.done():
            process.say(Told(1, 0))
            await asyncio.sleep(0.01)
        assert feed.ended.result() == Ended("no frame in 0.1 s")
        assert process.ended

    run(main())


def test_a_process_that_says_nothing_at_all_has_stalled(monkeypatch: pytest.MonkeyPatch) -> None:
    """It hangs where it opens the camera, or stands still."""
    monkeypatch.setattr(limits, "CAPTURE_STALL_S", 0.1)

    async def main() -> None:
        assert await Feed(monkeypatch).ended == Ended("no frame in 0.1 s")

    run(main())


def test_a_video_that_nobody_asks_has_not_stalled(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the pipeline is busy its process has nothing to do; asked, it must answer in time."""
    monkeypatch.setattr(limits, "CAPTURE_STALL_S", 0.1)

    async def main() -> None:
        feed = Feed(monkeypatch, VIDEO)
        process = await feed.process()
        await until(lambda: process.asked == 1)
        feed.may_take.clear()
        process.say(shot(0))
        for _ in range(20):
            process.say(Told(1, 0))
            await asyncio.sleep(0.01)
        assert not feed.ended.done()
        feed.may_take.set()
        assert await feed.ended == Ended("no frame in 0.1 s"), "asked again, it has not answered"

    run(main())


def test_a_video_that_is_played_may_rest_between_two_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """While it says that it rests it is in its own time, and no dead camera; one that hangs amid playing is."""
    clock = SimpleNamespace(now=1_000.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))

    async def main() -> None:
        for job, resting, stalls in ((PLAYED, True, False), (PLAYED, False, True), (CAMERA, False, True)):
            feed = Feed(monkeypatch, job)
            process = await feed.process()
            process.say(Told(1, 0))
            await until(lambda: process.drained)  # noqa: B023
            for told in range(2, 30):
                clock.now += limits.CAPTURE_STALL_S / 10
                process.say(Told(1, 0, resting))
                await until(lambda: len(feed.told) == told or feed.ended.done())  # noqa: B023
            assert feed.ended.done() is stalls
            process.say(GONE)
            assert (await feed.ended != GONE) is stalls

    run(main())


def test_a_frame_that_became_old_on_its_way_is_dropped_and_the_next_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """This process may have stood still with the frame in its socket."""

    async def main() -> None:
        feed = Feed(monkeypatch)
        process = await feed.process()
        await until(lambda: process.asked == 1)
        process.say(shot(0, age_s=limits.MAX_FRAME_AGE_S + 1))
        await until(lambda: process.asked == 2)
        process.say(shot(1), GONE)
        await feed.ended
        assert (feed.taken, feed.told) == ([1], [(0, 1)])

    run(main())


@pytest.mark.parametrize("at_once", [True, False])
def test_the_end_costs_no_frame_that_has_come(monkeypatch: pytest.MonkeyPatch, at_once: bool) -> None:
    """A video ends with its last frame, while the queue may be full."""

    async def main() -> None:
        feed = Feed(monkeypatch, VIDEO)
        feed.may_take.clear()
        process = await feed.process()
        await until(lambda: process.asked == 1)
        if at_once:
            process.say(shot(0), Ended("end", finished=True))
        else:
            process.say(shot(0))
            await until(lambda: feed.taking)
            process.say(Ended("end", finished=True))
        await until(lambda: process.drained)
        await asyncio.sleep(0)
        feed.may_take.set()
        assert (await feed.ended).finished
        assert feed.taken == [0]

    run(main())


def test_garbage_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also frames that nobody asked for, and counts that go back: it is out of its mind."""

    async def main() -> None:
        for said, why in (
            ([SourceError("sent garbage")], "sent garbage"),
            ([shot(0), shot(1), shot(2), shot(3)], "nobody asked"),
            ([Told(5, 3), Told(4, 3)], "backwards"),
            ([Told(5, 3), Told(6, 2)], "backwards"),
        ):
            feed = Feed(monkeypatch)
            process = await feed.process()
            process.say(*said)
            assert why in (await feed.ended).reason

    run(main())
