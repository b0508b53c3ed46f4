"""Facts about how an edge comes by both profiles, with a cloud in the same process."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from common.errors import FrameError, LinkLostError
from common.profile import Profile, ProfileKey, ProfileStore
from common.wire.messages import Welcome
from edge_daemon import profiling
from edge_daemon.spot_check import SpotCheck
from edge_daemon.uplink import Uplink
from models.compute import ComputeThread
from models.executor import TorchExecutor
from models.profiler import sample_frame
from tests.cloud_daemon.edge import cloud
from tests.edge_daemon.site import Site, going, hurry_daemon
from tests.event_loop import run, until
from tests.image_threads import threads_that_open_images
from tests.profiling_fails import profiling_fails
from tests.tiny_model import jpeg, tiny_model

GRAPH = tiny_model().graph
KEY = ProfileKey(tiny_model().fingerprint, "a device", "torch", 1, 1.0, "40x30")


@pytest.mark.parametrize(
    "profile",
    [
        Profile(replace(KEY, fingerprint=tiny_model(1).fingerprint), dict.fromkeys(GRAPH.names, 1.0)),
        Profile(KEY, dict.fromkeys(GRAPH.names[1:], 1.0)),
        Profile(KEY, dict.fromkeys((*GRAPH.names, "surplus"), 1.0)),
        Profile(KEY, dict.fromkeys(GRAPH.names, 1e308)),
    ],
    ids=["another model", "a unit missing", "a unit too many", "an infinite sum"],
)
def test_a_profile_that_is_not_this_models_is_not_planned_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], profile: Profile
) -> None:
    """A cloud that tells nonsense of its costs does not end the edge; it is asked again, and believed then."""
    hurry_daemon(monkeypatch)
    monkeypatch.setattr(profiling, "BAD_PROFILE_RETRY_S", 0.02)
    site = Site(tmp_path)
    site.put(0)

    async def main() -> None:
        async with cloud(tmp_path / "cloud") as rack:
            measure = rack.pool.profile

            async def foreign(frame: bytes) -> Profile:
                monkeypatch.setattr(rack.pool, "profile", measure)
                return profile

            monkeypatch.setattr(rack.pool, "profile", foreign)
            async with going(site.daemon(rack.address, when_drained="wait")):
                await until(lambda: site.status.get("profiled") is True)
            assert capsys.readouterr().out.count("the cloud's profile is of no use") == 1

    run(main())


class SilentCloud:
    """An uplink whose cloud never tells its profile."""

    cloud = None

    async def profile(self, frame: bytes) -> Profile:
        never: asyncio.Future[Profile] = asyncio.get_running_loop().create_future()
        return await never


class NoCheck:
    """A device that is not checked between frames."""

    async def run(self, profile: Profile) -> None: ...


class TellingCloud:
    """An uplink whose cloud tells a profile; or is lost by whoever asks."""

    def __init__(self, session: str, told: Profile | None) -> None:
        self.told = told
        self.asked = 0
        self.frames: list[bytes] = []
        self.reconnect(session)

    def reconnect(self, session: str) -> None:
        self.cloud = Welcome(session=session, cloud="attic", device="a device", credit=1)

    async def profile(self, frame: bytes) -> Profile:
        self.asked += 1
        self.frames.append(frame)
        if self.told is None:
            raise LinkLostError("the connection is closed")
        return self.told


@contextlib.asynccontextmanager
async def asking(
    directory: Path,
    uplink: TellingCloud,
    first_data: asyncio.Future[bytes] | None = None,
    own: list[str] | None = None,
) -> AsyncIterator[list[float]]:
    """An edge that asks this cloud; yields what the cloud's profile takes, and adds to `own` what its own is of."""
    found: list[float] = []
    own = own if own is not None else []
    if first_data is None:
        first_data = asyncio.get_running_loop().create_future()
        first_data.set_result(jpeg())

    def note(edge: Profile | None, cloud: Profile | None) -> None:
        if edge is not None:
            own.append(edge.key.frame)
        if cloud is not None:
            found.append(cloud.total_ms)

    compute = ComputeThread("test")
    edge = profiling.Profiling(
        model=tiny_model(),
        executor=TorchExecutor(),
        compute=compute,
        uplink=cast(Uplink, uplink),
        store=ProfileStore(directory),
        first_data=first_data,
        found=note,
        spot_check=cast(SpotCheck, NoCheck()),
    )
    running = asyncio.create_task(edge.run())
    try:
        yield found
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.wait([running])
        compute.stop(timeout_s=1.0)


def test_another_daemon_in_the_clouds_place_is_asked_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be a faster machine; a cloud that was only away has told all, and need not be sent a frame for it."""
    monkeypatch.setattr(profiling, "RETRY_S", 0.001)
    slow, fast = (Profile(KEY, dict.fromkeys(GRAPH.names, ms)) for ms in (100.0, 1.0))

    async def main() -> None:
        uplink = TellingCloud("aaaa-1", slow)
        async with asking(tmp_path, uplink) as found:
            await until(lambda: found == [slow.total_ms])
            uplink.told = fast
            uplink.reconnect("aaaa-2")
            for _ in range(20):
                await asyncio.sleep(0.001)
            assert uplink.asked == 1
            uplink.reconnect("bbbb-1")
            await until(lambda: found == [slow.total_ms, fast.total_ms])
            uplink.reconnect("cccc-1")
            await until(lambda: uplink.asked == 3)
            assert found == [slow.total_ms, fast.total_ms], "the same is no news"

    run(main())


@pytest.mark.parametrize(("size", "anew"), [((40, 30), True), ((1280, 720), False)])
def test_a_source_that_is_late_is_profiled_with_when_it_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], anew: bool
) -> None:
    """A camera may take long to start, and what its pictures take to decode is another matter than the sample."""
    monkeypatch.setattr(profiling, "FIRST_FRAME_S", 0.0)
    monkeypatch.setattr(profiling, "RETRY_S", 0.001)

    async def main() -> None:
        uplink, own = TellingCloud("aaaa-1", Profile(KEY, dict.fromkeys(GRAPH.names, 1.0))), list[str]()
        first_data: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        async with asking(tmp_path, uplink, first_data, own) as found:
            await until(lambda: own == ["1280x720"] and len(found) == 1)
            first_data.set_result(jpeg(0, size))
            await until(lambda: uplink.asked == 2)
            if anew:
                await until(lambda: own == ["1280x720", "40x30"])
            assert uplink.frames == [sample_frame(), jpeg(0, size)]
            for _ in range(20):
                await asyncio.sleep(0.001)
            assert len(own) == 1 + anew
            assert uplink.asked == 2
            assert len(found) == 1, "the same is no news"

    run(main())


def test_a_cloud_that_is_lost_by_being_asked_is_asked_ever_more_rarely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time costs a frame's upload, and both a connection; a first loss may have been the link's."""
    sleep, waits = asyncio.sleep, list[float]()

    async def noted(seconds: float) -> None:
        if seconds >= profiling.RETRY_S:
            waits.append(seconds)
        await sleep(0.0)

    monkeypatch.setattr(asyncio, "sleep", noted)

    async def main() -> None:
        async with asking(tmp_path, TellingCloud("aaaa-1", None)):
            await until(lambda: len(waits) >= 7)

    run(main())
    assert waits[:7] == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def edge_profile(directory: Path, frame: bytes) -> Profile:
    """The profile that an edge takes of itself, with `frame` as its first."""
    found: list[Profile | None] = []

    async def main() -> None:
        compute = ComputeThread("test")
        first_data = asyncio.get_running_loop().create_future()
        first_data.set_result(frame)
        edge = profiling.Profiling(
            model=tiny_model(),
            executor=TorchExecutor(),
            compute=compute,
            uplink=cast(Uplink, SilentCloud()),
            store=ProfileStore(directory),
            first_data=first_data,
            found=lambda edge, cloud: found.append(edge),
            spot_check=cast(SpotCheck, NoCheck()),
        )
        running = asyncio.create_task(edge.run())
        try:
            await until(lambda: bool(found) or running.done())
        finally:
            running.cancel()
            await asyncio.wait([running])
            compute.stop(timeout_s=1.0)
        if not running.cancelled():
            running.result()

    run(main())
    (profile,) = found
    assert profile is not None
    return profile


@pytest.mark.parametrize("error", [FrameError("too narrow"), RuntimeError("[enforce fail]"), MemoryError()])
def test_an_edge_that_cannot_be_measured_with_a_real_frame_is_with_a_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    """The first frame may be anything; it is recorded as what it is, and the daemon goes on and has its profile."""
    profiling_fails(monkeypatch, "40x30", error)
    assert edge_profile(tmp_path, jpeg()).key.frame == "1280x720"
    said = capsys.readouterr().out
    assert "cannot be profiled with a real frame" in said
    assert type(error).__name__ in said


def test_a_first_frame_is_never_looked_through_on_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of 48 MiB takes longer than the loop may stand still."""
    threads = threads_that_open_images(monkeypatch)
    assert edge_profile(tmp_path, jpeg()).key.frame == "40x30"
    assert threads
    assert threading.current_thread() not in threads
