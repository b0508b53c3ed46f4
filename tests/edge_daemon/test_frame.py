"""Facts about the place for the latest frame: the newest is there, and each older one is told of."""

from __future__ import annotations

import asyncio

from edge_daemon.frame import Frame, ImageFile, LatestFrameSlot, LiveFrame, VideoFrame
from tests.edge_daemon.bench import frame_of
from tests.event_loop import run


def test_a_newer_frame_takes_the_place_of_the_older_one() -> None:
    """Who asks late gets the newest; whoever lost its place is told of, in order; nobody waits to put."""

    async def main() -> None:
        replaced: list[Frame] = []
        slot = LatestFrameSlot(replaced.append)
        frames = [frame_of(number, b"x") for number in range(5)]
        for frame in frames[:3]:
            await slot.put(frame)
        assert await slot.get() is frames[2]
        assert replaced == frames[:2]
        await slot.put(frames[3])
        assert await slot.get() is frames[3]
        assert len(replaced) == 2

    run(main())


def test_whoever_waits_has_the_next_frame_and_only_one_does() -> None:
    """Several lanes wait: each frame goes to one of them, and the end to all."""

    async def main() -> None:
        slot = LatestFrameSlot(lambda _: None)
        lanes = [asyncio.create_task(slot.get()) for _ in range(3)]
        await asyncio.sleep(0)
        frame = frame_of(0, b"x")
        await slot.put(frame)
        await slot.put(None)
        got = await asyncio.gather(*lanes)
        assert sorted(got, key=lambda found: found is None) == [frame, None, None]
        assert await slot.get() is None

    run(main())


def test_the_last_frame_is_not_lost_at_the_end() -> None:
    """The end comes after what still waits."""

    async def main() -> None:
        slot = LatestFrameSlot(lambda _: None)
        frame = frame_of(0, b"x")
        await slot.put(frame)
        await slot.put(None)
        assert await slot.get() is frame
        assert await slot.get() is None

    run(main())


def test_the_slot_tells_when_a_frame_is_wanted() -> None:
    """When a lane waits and there is none: not while one is there, nor when all lanes are busy."""

    async def main() -> None:
        slot = LatestFrameSlot(lambda _: None)
        wanted = asyncio.create_task(slot.wanted())
        await asyncio.sleep(0)
        assert not wanted.done(), "no lane waits"
        lanes = [asyncio.create_task(slot.get()) for _ in range(2)]
        await wanted
        await slot.put(frame_of(0, b"x"))
        await slot.wanted()  # the other lane waits still
        await slot.put(frame_of(1, b"x"))
        assert [frame.number for frame in await asyncio.gather(*lanes) if frame] == [0, 1]
        await slot.put(frame_of(2, b"x"))
        last = asyncio.create_task(slot.wanted())
        await asyncio.sleep(0)
        assert not last.done(), "all lanes are busy, and one is there"
        last.cancel()

    run(main())


def test_origins_tell_their_name_and_when_they_were_captured() -> None:
    """Of a file it is the file's time; two frames of one video are two, whatever their times."""
    video = ImageFile("a.mp4", 10, 5)
    assert (VideoFrame(video, 3, 0.3).name, VideoFrame(video, 3).captured_ns) == ("a.mp4#3", 5)
    assert VideoFrame(video, 3, 0.3) == VideoFrame(video, 3) != VideoFrame(video, 4)
    assert LiveFrame("rtsp://cam", 7).captured_ns == 7
