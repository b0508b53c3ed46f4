"""An RTSP camera that is killed and comes back, again and again, beside a real edge daemon; and what is seen of it.

    python -m tests.chaos.cameras [--rounds 20] [--gstreamer]     (make chaos-camera)

`--gstreamer` takes GStreamer's RTSP server (Debian: gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-good
gstreamer1.0-plugins-ugly) in place of our own.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.pair import Edge, free_port
from edge_daemon.frame_counts import FrameCounts
from tests.chaos.tiny_pair import make_edge, tracebacks
from tests.rtsp_server import write_video

LOOK_S = 0.02
LOOKS = 10
LONGEST_S = 60.0
"""No step takes this long, on however busy a machine."""

GSTREAMER = ("/usr/bin/python3", "-m", "tests.chaos.gstreamer_rtsp_server")


class Camera:
    """An RTSP server as a process on a port that stays the same."""

    def __init__(self, directory: Path, *, gstreamer: bool = False) -> None:
        self.port = free_port()
        self._command: Sequence[str] = (*GSTREAMER, str(self.port))
        if not gstreamer:
            video = write_video(directory / "camera.json")
            self._command = (sys.executable, "-m", "tests.rtsp_server", str(self.port), str(video))
        self.url = f"rtsp://127.0.0.1:{self.port}/live"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start serving; return when it listens."""
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdout=asyncio.subprocess.PIPE, start_new_session=True
        )
        assert self._process.stdout is not None
        if await self._process.stdout.readline() != b"listening\n":
            raise RuntimeError("the RTSP server does not start")

    def send_signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def kill(self) -> None:
        """Kill the server, if it runs."""
        if self._process is not None and self._process.returncode is None:
            self.send_signal(signal.SIGKILL)
            await self._process.wait()


@dataclass(slots=True)
class Seen:
    """What was seen of the daemon: the longest pause between two of its statuses, what it holds, and for how long
    there were no frames after the camera was back."""

    resumed_s: list[float] = field(default_factory=list)
    longest_pause_s: float = 0.0
    held: list[tuple[int, int, int]] = field(default_factory=list)

    def say(self) -> str:
        resumed = ", ".join(f"{s:.1f}" for s in self.resumed_s)
        return (
            f"frames resumed after {resumed} s; longest pause between two statuses {self.longest_pause_s:.2f} s; "
            f"descriptors, threads, children: {self.held[0]} at first, {self.held[-1]} at last"
        )


async def holds(pid: int) -> tuple[int, int, int]:
    """Return what a process holds for longer: descriptors, threads and children, zombies included.

    The least of many looks: at one of them a status may be written, or a connection be tried. What has leaked is
    there at all of them.
    """
    process, looks = psutil.Process(pid), []
    for _ in range(LOOKS):
        looks.append((process.num_fds(), process.num_threads(), len(process.children(recursive=True))))
        await asyncio.sleep(LOOK_S)
    descriptors, threads, children = (min(counts) for counts in zip(*looks, strict=True))
    return descriptors, threads, children


async def watch_statuses(edge: Edge, seen: Seen) -> None:
    """Take note of the longest time in which the daemon wrote no status. It writes one at each look at the plan."""
    last: float | None = None
    while True:
        written_at: float | None = edge.status().get("written_at")
        if last is not None and written_at is not None:
            seen.longest_pause_s = max(seen.longest_pause_s, time.time() - written_at, written_at - last)
        last = written_at or last
        await asyncio.sleep(LOOK_S)


async def flowing(edge: Edge) -> None:
    """Wait until the source gives frames, and three more of them have their records."""
    await edge.until("frames", lambda: condition_of(edge) == "flowing", LONGEST_S)
    await edge.answered(len(edge.records()) + 3, LONGEST_S)


def condition_of(edge: Edge) -> str | None:
    condition: str | None = edge.status().get("source", {}).get("condition")
    return condition


def on_their_way(edge: Edge) -> int:
    """How many frames have neither a record nor been dropped."""
    frames = edge.status()["frames"]
    return sum(int(frames[place]) for place in ("waiting", "in_flight", "recording"))


async def kill_and_return(edge: Edge, camera: Camera, seen: Seen) -> None:
    """Kill the camera, let it be away until the daemon has noticed, bring it back; time the first new record."""
    await camera.kill()
    await edge.until("loss", lambda: condition_of(edge) in ("waiting", "opening"), LONGEST_S)
    await edge.until("rest", lambda: on_their_way(edge) == 0, LONGEST_S)
    before = len(edge.records())
    await camera.start()
    back_at = time.monotonic()
    await edge.answered(before + 1, LONGEST_S)
    seen.resumed_s.append(time.monotonic() - back_at)
    await flowing(edge)
    seen.held.append(await holds(edge.pid))


async def freeze(edge: Edge, camera: Camera) -> float:
    """Stop the camera (SIGSTOP) until the daemon calls that a stall; return after how long it did, in seconds."""
    restarts = edge.status()["source"]["restarts"]
    camera.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    await edge.until("stall", lambda: edge.status()["source"]["restarts"] > restarts, LONGEST_S)
    noticed_s = time.monotonic() - began
    assert edge.status()["source"]["last_error"] == "no frame in 10 s"
    camera.send_signal(signal.SIGCONT)
    await flowing(edge)
    return noticed_s


async def rounds(directory: Path, camera: Camera, count: int, *, frozen: bool, **settings: Any) -> Seen:
    """Run an edge on `camera`, which is killed `count` times, and then stopped; say what was seen."""
    seen = Seen()
    await camera.start()
    try:
        async with make_edge(directory, CLEAVE_EDGE_SOURCE=camera.url, **settings) as edge:
            await flowing(edge)
            seen.held.append(await holds(edge.pid))
            watching = asyncio.create_task(watch_statuses(edge, seen))
            for _ in range(count):
                await kill_and_return(edge, camera, seen)
            if frozen:
                print(f"a camera that stands still was noticed after {await freeze(edge, camera):.1f} s")
                seen.held.append(await holds(edge.pid))
            watching.cancel()
            await edge.stop()
    finally:
        await camera.kill()
    check(edge, seen)
    return seen


def check(edge: Edge, seen: Seen) -> None:
    """Raise AssertionError unless all frames are accounted for, nothing has leaked, and nothing was complained of."""
    counts = FrameCounts(**edge.status()["frames"])
    assert counts.answered == len(edge.records())
    assert counts.failed == 0
    assert len(set(seen.held)) == 1, f"descriptors, threads, children: {seen.held}"
    assert tracebacks(edge.log) == []


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--gstreamer", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cleave-cameras-") as directory:
        camera = Camera(Path(directory), gstreamer=chosen.gstreamer)
        seen = asyncio.run(rounds(Path(directory), camera, chosen.rounds, frozen=True))
    print(seen.say())
    return 0 if max(seen.resumed_s) <= 5.0 else 1


if __name__ == "__main__":
    sys.exit(main())
