"""Facts about the place for the latest frame: the newest is there, and each older one is told of."""

from __future__ import annotations

import asyncio

from edge_daemon.frame import Frame, LatestFrameSlot
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
