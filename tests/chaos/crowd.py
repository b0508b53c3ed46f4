"""A crowd at one cloud: 64 active edges and 256 idle ones; all are served or told Busy, none starves, none is lost.

    python -m tests.chaos.crowd --seconds 60

A real cloud daemon, light edges in one process. All connect at the same moment, as they would after the cloud was
started again, and those that are sent away from the full door come back as a real edge does. The active ones have two
frames on their way at all times, more than the cloud has places for. Ends with status 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.light_edges import Counts, LightEdge
from benchmarks.pair import free_port
from common.errors import LinkError
from common.limits import MIB
from common.plan import Cut
from common.wire.tensors import TensorEntry
from edge_daemon.attempts import next_delay_s
from models.model import Model
from tests.chaos.crowd_verdict import Crowd, Served
from tests.chaos.forked import ForkedDaemon
from tests.chaos.process_figures import look, rss_bytes
from tests.chaos.slow_reader import crossing, start_cloud
from tests.chaos.tiny_pair import tracebacks
from tests.tiny_model import tiny_model

IN_FLIGHT = 2
LOOK_S = 0.05
DESCRIPTORS_BESIDE = 100


@dataclass(slots=True)
class Watched:
    """An active edge, and when it last had an answer."""

    edge: LightEdge
    answers: int
    since: float
    longest_gap_s: float = 0.0

    def look(self, now: float) -> None:
        if self.edge.counts.answers > self.answers:
            self.answers, self.since = self.edge.counts.answers, now
        self.longest_gap_s = max(self.longest_gap_s, now - self.since)


class Throng:
    """The edges of a crowd, all in this process."""

    def __init__(self, address: tuple[str, int], seed: int) -> None:
        self.model: Model = tiny_model()
        self.cut = Cut.from_label(self.model.graph, "after resize")
        self.attempts = 0
        self._address = address
        self._rng = random.Random(seed)
        self._frame: tuple[tuple[TensorEntry, ...], list[memoryview | bytes]] = crossing(self.model, self.cut)

    async def comes(self, name: str) -> LightEdge:
        """Connect and greet, again and again as a real edge does."""
        attempt = 0
        while True:
            if attempt:
                await asyncio.sleep(next_delay_s(attempt, self._rng))
            attempt += 1
            self.attempts += 1
            edge = LightEdge(*self._frame)
            with contextlib.suppress(LinkError, OSError):
                await edge.connect(*self._address)
                await edge.greet(self.model, name)
                return edge
            edge.channel.abort()

    async def newcomer(self) -> float:
        """Come while everybody is served; return how long it takes until the first answer."""
        began = time.monotonic()
        edge = await self.comes("newcomer")
        await edge.prepare(self.model, self.cut)
        edge.begin(1)
        while not edge.counts.answers:  # noqa: ASYNC110 (what the edge counts)
            await asyncio.sleep(0.005)
        took_s = time.monotonic() - began
        edge.end()
        edge.channel.abort()
        return took_s


async def run(
    cloud: ForkedDaemon, address: tuple[str, int], active: int, idle: int, seconds: float, seed: int
) -> Crowd:
    """Have a crowd come, be served, and go."""
    throng = Throng(address, seed)
    before = look(cloud.pid)
    began = time.monotonic()
    edges = await asyncio.gather(*(throng.comes(f"edge {number}") for number in range(active + idle)))
    arrival_s = time.monotonic() - began
    print(f"all {len(edges)} are in after {arrival_s:.1f} s, {throng.attempts} attempts", flush=True)
    busy_ones, idle_ones = edges[:active], edges[active:]
    await asyncio.gather(*(edge.prepare(throng.model, throng.cut) for edge in busy_ones))
    for edge in busy_ones:
        edge.begin(IN_FLIGHT)
    await _until(lambda: all(edge.counts.answers for edge in busy_ones), timeout_s=30.0)
    for edge in busy_ones:
        edge.counts = Counts()
    newcomer = asyncio.create_task(_within(throng.newcomer(), seconds))
    watched, peak, length_s = await _watch(cloud, busy_ones, seconds)
    during = look(cloud.pid)
    for edge in busy_ones:
        edge.end()
    answers = [edge.counts.answers for edge in busy_ones]
    await _until(lambda: all(edge.idle for edge in busy_ones), timeout_s=10.0)
    idle_lost = sum(not edge.channel.is_open for edge in idle_ones)
    crowd = Crowd(
        seconds=round(length_s, 1),
        active=tuple(
            Served(
                answers=count,
                busy=one.counts.busy,
                failed=one.counts.failed,
                unanswered=0 if one.idle else 1,
                longest_gap_s=watch.longest_gap_s,
            )
            for count, one, watch in zip(answers, busy_ones, watched, strict=True)
        ),
        idle=len(idle_ones),
        idle_lost=idle_lost,
        arrival_s=arrival_s,
        attempts=throng.attempts,
        newcomer_s=await newcomer,
        descriptors=(before.descriptors, during.descriptors),
        rss_mib=(before.rss_bytes / MIB, during.rss_bytes / MIB, peak / MIB),
    )
    for edge in edges:
        edge.channel.abort()
    await asyncio.wait([edge.channel.done for edge in edges])
    return crowd


async def _watch(
    cloud: ForkedDaemon, edges: Sequence[LightEdge], seconds: float
) -> tuple[list[Watched], int, float]:
    """Look at all active edges for a while; return what was seen, and the cloud's memory at its most."""
    began = time.monotonic()
    watched = [Watched(edge, 0, began) for edge in edges]
    peak = 0
    while time.monotonic() < began + seconds:
        await asyncio.sleep(LOOK_S)
        for one in watched:
            one.look(time.monotonic())
        peak = max(peak, rss_bytes(cloud.pid))
    return watched, peak, time.monotonic() - began


async def _until(condition: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:  # noqa: ASYNC110 (what edges count)
        await asyncio.sleep(LOOK_S)


async def _within(coming: Coroutine[Any, Any, float], seconds: float) -> float | None:
    try:
        async with asyncio.timeout(seconds):
            return await coming
    except (TimeoutError, LinkError):
        return None


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--active", type=int, default=64)
    parser.add_argument("--idle", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0, help="of the pauses before edges connect again")
    parser.add_argument("--out", type=Path, default=Path("var/crowd"))
    chosen = parser.parse_args(arguments)
    needed, (soft, _) = (
        chosen.active + chosen.idle + DESCRIPTORS_BESIDE,
        resource.getrlimit(resource.RLIMIT_NOFILE),
    )
    if soft < needed:
        parser.error(
            f"{needed} descriptors are needed on either side, {soft} are allowed: ulimit -n {needed}"
        )
    root = Path(tempfile.mkdtemp(prefix="cleave-crowd-"))
    port = free_port()
    cloud = start_cloud(root, port)
    try:
        crowd = asyncio.run(
            run(cloud, ("127.0.0.1", port), chosen.active, chosen.idle, chosen.seconds, chosen.seed)
        )
    finally:
        cloud.kill()
    wrong = crowd.missed()
    wrong += [f"the cloud complained: {said[:300]}" for said in tracebacks(root / "cloud.log")[:3]]
    text = crowd.report()
    print("\n".join([text, "", *(f"MISSED: {said}" for said in wrong), "" if wrong else "all bars kept"]))
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "crowd.md").write_text(text + "\n")
    (chosen.out / "crowd.json").write_text(json.dumps({"missed": wrong, **asdict(crowd)}, indent=1) + "\n")
    if wrong:
        print(f"logs are kept in {root}", file=sys.stderr)
        return 1
    shutil.rmtree(root)
    return 0


if __name__ == "__main__":
    sys.exit(main())
