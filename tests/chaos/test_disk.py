"""Facts about disks that are full, read-only or gone: frames wait or are dropped, it is said, and all goes on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from benchmarks.pair import Edge
from edge_daemon.frame_counts import FrameCounts
from tests.chaos.tiny_pair import judge, make_edge, make_frames, offer, tracebacks

pytestmark = pytest.mark.timeout(180)


def mount(target: Path, options: str) -> None:
    """Mount a tmpfs, or change one that is there. Raises `CalledProcessError`."""
    target.mkdir(exist_ok=True)
    remount = "remount," if target.is_mount() else ""
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", remount + options, "tmpfs", target], check=True, capture_output=True
    )


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB, in memory. `mount` makes it larger."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    small = tmp_path / "disk"
    try:
        mount(small, "size=64k")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no small disk can be mounted here: {error.stderr.decode().strip()}")
    with ExitStack() as stack:
        stack.callback(lambda: subprocess.run(["umount", "-l", small], check=True))
        yield small


def counts(edge: Edge) -> FrameCounts:
    """Read the counts, which check themselves."""
    return FrameCounts(**edge.status().get("frames", {}))


async def statuses(edge: Edge, number: int) -> None:
    """Wait for so many new ones: time has passed for the edge as well."""
    for _ in range(number):
        last = edge.status()["written_at"]
        await edge.until("another status", lambda last=last: edge.status()["written_at"] != last, 30)


def whole_lines(path: Path) -> int:
    content = path.read_bytes()
    assert content.endswith(b"\n")
    return sum(bool(json.loads(line)) for line in content.splitlines())


def test_frames_wait_for_a_full_disk_and_for_one_that_is_gone(tmp_path: Path, disk: Path) -> None:
    """Results end in whole lines, it is said once with path and bytes; with room again, every file has its record."""
    frames = make_frames(tmp_path / "frames", 300)
    results = disk / "results" / "r.jsonl"

    async def main() -> None:
        settings: dict[str, Any] = {"CLEAVE_EDGE_RESULTS": results, "CLEAVE_EDGE_PLAN": "edge-only"}
        async with make_edge(tmp_path, **settings) as edge:
            offer(frames[:250], edge.inbox)
            await edge.until("trouble", lambda: edge.status().get("results", {}).get("trouble"), 60)
            await statuses(edge, 8)  # it has tried again
            full = counts(edge)
            assert full.answered == whole_lines(results) < 250
            assert full.recording > 0
            assert full.seen <= full.answered + 64 + 4 + 8 + 2, "it reads no further ahead than it may"
            mount(disk, "size=1m")
            await edge.until("records", lambda: counts(edge).answered == 250, 30)
            assert edge.status()["results"]["trouble"] is None

            shutil.move(results.parent, disk / "elsewhere")
            offer(frames[250:], edge.inbox)
            await edge.until("trouble", lambda: edge.status()["results"]["trouble"], 30)
            await statuses(edge, 3)
            assert not results.parent.exists(), "nothing is written where nobody looks"
            shutil.move(disk / "elsewhere", results.parent)
            await edge.until("records", lambda: counts(edge).answered == 300, 30)
            await edge.stop()
        assert judge(results.read_bytes(), [frame.name for frame in frames]).good
        said = edge.logged("results cannot be written, frames wait")
        assert [entry["path"] for entry in said] == [str(results)] * 2
        assert [entry["reason"] for entry in said] == ["No space left on device", "its directory is gone"]
        assert said[0]["bytes"] > said[0]["free_bytes"] >= 0
        assert len(edge.logged("results can be written again")) == 2
        assert tracebacks(edge.log) == []

    asyncio.run(main())


def test_where_the_latest_counts_a_full_disk_drops_frames(tmp_path: Path, disk: Path) -> None:
    """Frames go on, what finds no room is counted as dropped, and with room again records are written."""
    frames = make_frames(tmp_path / "frames", 600)
    results = disk / "r.jsonl"

    async def main() -> None:
        settings: dict[str, Any] = {
            "CLEAVE_EDGE_RESULTS": results,
            "CLEAVE_EDGE_PLAN": "edge-only",
            "CLEAVE_EDGE_DELIVERY": "latest",
        }
        async with make_edge(tmp_path, **settings) as edge:
            more = iter(frames)

            def another_one() -> None:
                if frame := next(more, None):
                    offer([frame], edge.inbox)

            def dropped() -> bool:
                another_one()
                return counts(edge).dropped_unrecorded > 2

            def recorded(before: int) -> bool:
                another_one()
                return counts(edge).answered > before

            (disk / "filler").write_bytes(bytes(60 * 1024))
            await edge.until("drops", dropped, 60)
            have = counts(edge).answered
            (disk / "filler").unlink()
            await edge.until("records", lambda: recorded(have), 30)
            offered = len(frames) - len(list(more))
            await edge.until("all seen", lambda: counts(edge).seen == offered, 30)
            await edge.stop()
        assert counts(edge).answered == whole_lines(results)
        assert len(edge.logged("results cannot be written, frames are dropped")) == 1
        assert tracebacks(edge.log) == []

    asyncio.run(main())


def test_a_disk_that_is_read_only_at_the_start_is_waited_for(tmp_path: Path, disk: Path) -> None:
    """As after an unclean end, until somebody has checked it: the edge does not exit, and loses nothing."""
    frames = make_frames(tmp_path / "frames", 20)
    mount(disk, "ro,size=64k")

    async def main() -> None:
        settings: dict[str, Any] = {
            "CLEAVE_EDGE_RESULTS": disk / "new" / "r.jsonl",
            "CLEAVE_EDGE_PLAN": "edge-only",
        }
        async with make_edge(tmp_path, **settings) as edge:
            offer(frames, edge.inbox)
            await edge.until("trouble", lambda: edge.status().get("results", {}).get("trouble"), 60)
            mount(disk, "rw,size=64k")
            await edge.until("records", lambda: counts(edge).answered == 20, 30)
            await edge.stop()
        results = (disk / "new" / "r.jsonl").read_bytes()
        assert judge(results, [frame.name for frame in frames]).good
        assert len(edge.logged("results cannot be opened yet, frames wait")) == 1
        assert tracebacks(edge.log) == []

    asyncio.run(main())


def damage_profiles_and_fill(state: Path) -> None:
    """Make garbage of the profiles, and leave room for nothing."""
    (profile,) = state.glob("profile-*.json")
    profile.write_bytes(b"\0" * 5_000)
    (state / "status.json").unlink()
    with contextlib.suppress(OSError), (state / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(4096))


def test_a_full_or_damaged_state_directory_stops_nothing(tmp_path: Path, disk: Path) -> None:
    """Profiles are garbage, and neither they nor the status can be written: frames are answered all the same."""
    frames = make_frames(tmp_path / "frames", 20)

    async def main() -> None:
        async with make_edge(tmp_path, CLEAVE_EDGE_STATE_DIR=disk) as edge:
            offer(frames, edge.inbox)
            await edge.until("profile", lambda: edge.logged("profile measured"), 60)
            await edge.answered(len(frames), 30)  # what is left now would stay in this edge's inbox
            await edge.stop()
        damage_profiles_and_fill(disk)
        edge = make_edge(tmp_path, name="again", CLEAVE_EDGE_STATE_DIR=disk, CLEAVE_EDGE_RESULTS=edge.results)
        async with edge:
            offer(make_frames(tmp_path / "more", 40), edge.inbox)
            await edge.until("profile", lambda: edge.logged("profile measured"), 60)
            await edge.until("records", lambda: whole_lines(tmp_path / "edge.jsonl") == 60, 30)
            await edge.stop()
        (damaged,) = edge.logged("a saved profile is of no use")
        assert damaged["kept"].startswith(str(disk))
        assert len(edge.logged("status cannot be written")) == 1
        assert edge.logged("the profile is measured anew at the next start")
        assert tracebacks(edge.log) == []

    asyncio.run(main())
