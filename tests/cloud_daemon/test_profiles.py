"""Facts about the profiles that edges ask for: one is measured at a time, few wait, and none for nobody."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import ClassVar

import pytest

from cloud_daemon import profiles as module
from common.errors import CleaveError
from common.profile import Profile
from common.wire.messages import ProfileReply, ProfileRequest
from models.profiler import ProfileRun
from tests.cloud_daemon.edge import Blocked, Edge, cloud
from tests.event_loop import run, until
from tests.image_threads import threads_that_open_images
from tests.profiling_fails import profiling_fails
from tests.tiny_model import jpeg


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The frame sizes that steps of measuring were taken for, one after another, without repetitions."""
    taken: list[str] = []
    step = ProfileRun.step

    def noted(self: ProfileRun) -> bool:
        if taken[-1:] != [self.key.frame]:
            taken.append(self.key.frame)
        return step(self)

    monkeypatch.setattr(ProfileRun, "step", noted)
    return taken


class Photograph(bytes):
    """A frame that notes when nobody refers to it any more."""

    gone: ClassVar[list[bytes]] = []

    def __del__(self) -> None:
        self.gone.append(self[:0])


async def told(edge: Edge) -> str:
    """The frame size of the profile that an edge is told."""
    return Profile.from_json(bytes((await edge.event(ProfileReply)).payload)).key.frame


def test_one_profile_is_measured_at_a_time(tmp_path: Path, steps: list[str]) -> None:
    """Of those that are asked for together each is finished before the next is begun: a network's memory, once."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edges = [await rack.greeted(edge=edge) for edge in "ab"]
            async with Blocked(rack):
                for width, edge in enumerate(edges, start=40):
                    edge.say(ProfileRequest(), jpeg(0, (width, 30)))
                await until(lambda: len(rack.server.frames.measuring.waiting) == 1)
            assert [await told(edge) for edge in edges] == ["40x30", "41x30"]
            assert sorted(steps) == ["40x30", "41x30"]

    run(main())


@pytest.mark.parametrize("error", [CleaveError("too narrow"), RuntimeError("[enforce fail]"), MemoryError()])
def test_a_cloud_that_cannot_be_measured_with_an_edges_frame_is_with_a_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    """The edge would lose its connection by asking, and ask again on the next one, for ever."""
    profiling_fails(monkeypatch, "40x30", error)

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edge = await rack.greeted()
            for _ in range(2):
                edge.say(ProfileRequest(), jpeg(0, (40, 30)))
                assert await told(edge) == "1280x720"

    run(main())
    said = capsys.readouterr().out
    assert said.count("cannot be profiled with") == 2
    assert type(error).__name__ in said
    assert said.count("profile measured") == 1, "the sample's is saved"


def test_beyond_those_that_may_wait_a_samples_profile_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: list[str]
) -> None:
    """An edge need not wait for sizes without end; those that ask for what is waited for already share it."""
    monkeypatch.setattr(module, "MOST_WAITING", 1)

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            waiting = rack.server.frames.measuring.waiting
            edges = [await rack.greeted(edge=edge) for edge in "abcd"]
            async with Blocked(rack):
                edges[0].say(ProfileRequest(), jpeg(0, (40, 30)))
                await until(lambda: rack.pool.compute.waiting == 1)
                for number, (width, count) in enumerate(((41, 1), (42, 2)), start=1):
                    edges[number].say(ProfileRequest(), jpeg(0, (width, 30)))
                    await until(lambda count=count: len(waiting) == count)  # type: ignore[misc]
                edges[3].say(ProfileRequest(), jpeg(1, (41, 30)))
                await until(lambda: sum(asked.edges for asked in waiting) == 3)
            assert [await told(edge) for edge in edges] == ["40x30", "41x30", "1280x720", "41x30"]
            assert len(steps) == 3

    run(main())


def test_who_waits_for_a_profile_holds_no_frame(tmp_path: Path, no_collector: None) -> None:
    """Neither as it came, which counts as memory for tensors, nor a copy; only what is in the line has one each."""
    Photograph.gone.clear()

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            ledger, waiting = rack.server.ledger, rack.server.frames.measuring.waiting
            edges = [await rack.greeted(edge=edge) for edge in "ab"]
            async with Blocked(rack):
                edges[0].say(ProfileRequest(), jpeg(0, (40, 30)))
                await until(lambda: rack.pool.compute.waiting == 1)
                edges[1].say(ProfileRequest(), jpeg(0, (41, 30)))
                await until(lambda: len(waiting) == 1)
                await until(lambda: ledger.held_bytes == 0)
                asked = asyncio.create_task(rack.pool.profile(Photograph(jpeg(0, (41, 30)))))
                await until(lambda: sum(one.edges for one in waiting) == 2)
                await until(lambda: len(Photograph.gone) == 1)
                assert not asked.done(), "it is let go of before the profile is there, not by that"
                assert waiting
            assert [await told(edge) for edge in edges] == ["40x30", "41x30"]
            assert (await asked).key.frame == "41x30"

    run(main())


def test_a_frame_is_never_looked_through_on_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of 48 MiB takes longer than edges may go without an answer to their pings."""
    threads = threads_that_open_images(monkeypatch)

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edge = await rack.greeted()
            edge.say(ProfileRequest(), jpeg())
            assert await told(edge) == "40x30"

    run(main())
    assert threads
    assert threading.current_thread() not in threads


def test_what_nobody_waits_for_any_more_is_not_measured(tmp_path: Path, steps: list[str]) -> None:
    """An edge that asks, goes, and comes back to ask with another size leaves nothing behind it."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            waiting = rack.server.frames.measuring.waiting
            stays, goes = await rack.greeted(edge="stays"), await rack.greeted(edge="goes")
            async with Blocked(rack):
                stays.say(ProfileRequest(), jpeg(0, (40, 30)))
                await until(lambda: rack.pool.compute.waiting == 1)
                goes.say(ProfileRequest(), jpeg(0, (41, 30)))
                await until(lambda: len(waiting) == 1)
                goes.channel.abort()
                await until(lambda: not waiting)
            assert await told(stays) == "40x30"
            assert steps == ["40x30"]
            assert not rack.pool._profiles._asked

    run(main())
