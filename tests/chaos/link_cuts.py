"""Cut links under load, again and again: each time frames flow again, and nothing is lost, doubled or left behind.

    python -m tests.chaos.link_cuts --cuts 1000 --edges 8

Real edge daemons, each behind an emulated link of its own, half of them under TLS, share two cloud daemons (one with
TLS). Frames flow all the time. Each link is cut at random in the ways of `cuts.HARMS`, and again once it has
recovered: when the cloud has answered a frame that was begun after the outage. An edge that chooses its cut itself
(`auto`) may do without the cloud for a while; of it is asked that frames never stop for long.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.pair import free_port
from tests.certificates import files, rack
from tests.chaos.census import Census, take_census
from tests.chaos.cut_edge import CutEdge
from tests.chaos.cut_report import report
from tests.chaos.cuts import HARMS, LONGEST_S, Cut
from tests.chaos.forked import ForkedDaemon
from tests.chaos.task_report import report_tasks
from tests.chaos.tiny_pair import CLOUD, EDGE, judge, make_frames, offer, tracebacks

PLANS = ("cloud-only", "after add", "after resize", "auto")
FRAMES = 40
START_S = 90.0
SETTLED_S = 60.0
"""After the last cut what was left behind must be gone within this time: dead peers are given up after 5 s."""
DRAIN_S = 10.0
"""A daemon ends this long after SIGTERM at most."""
THREADS_SPARE = 6
"""Pools of threads grow to their size when that much is asked for at once, and stay so."""


class Scene:
    """Clouds, edges and links in one directory."""

    def __init__(self, root: Path, edges: int) -> None:
        self.root = root
        self.frames = make_frames(root / "frames", FRAMES)
        self.classes = self._learn_the_answers()
        hosts = [f"127.0.1.{number}" for number in range(1, edges + 1)]
        rack(root / "rack-tls", "127.0.0.1", *hosts)
        self.clouds: dict[str, ForkedDaemon] = {}
        self.edges: list[CutEdge] = []
        addresses = {}
        for name, tls in (("cloud", None), ("cloud-tls", root / "rack-tls")):
            addresses[name] = ("127.0.0.1", free_port()), ("127.0.0.1", free_port())
            self.clouds[name] = self._start_cloud(name, *addresses[name], tls)
        for number, host in enumerate(hosts):
            under_tls = (number + number // len(PLANS)) % 2 == 1
            name = f"edge-{number}"
            tls = files(root / f"{name}-tls", name).directory if under_tls else None
            to = addresses["cloud-tls" if under_tls else "cloud"]
            self.edges.append(CutEdge(root, name, PLANS[number % len(PLANS)], host, *to, tls))

    def _start_cloud(
        self, name: str, listen: tuple[str, int], iperf: tuple[str, int], tls: Path | None
    ) -> ForkedDaemon:
        environment = {
            **CLOUD,
            "CLEAVE_CLOUD_LISTEN": f"{listen[0]}:{listen[1]}",
            "CLEAVE_CLOUD_IPERF_PORT": str(iperf[1]),
            "CLEAVE_CLOUD_STATE_DIR": str(self.root / name),
            **({"CLEAVE_CLOUD_TLS": str(tls)} if tls else {}),
        }
        log, told = self.root / f"{name}.log", self.root / f"{name}.tasks"
        return ForkedDaemon("cloud", environment, log, alter=partial(report_tasks, told, collect=True))

    def _learn_the_answers(self) -> dict[str, int]:
        """Run once on an edge alone, unharmed."""
        place = self.root / "reference"
        offer(self.frames, place / "inbox")
        environment = {
            **EDGE,
            "CLEAVE_EDGE_SOURCE": str(place / "inbox"),
            "CLEAVE_EDGE_RESULTS": str(place / "results.jsonl"),
            "CLEAVE_EDGE_STATE_DIR": str(place / "state"),
            "CLEAVE_EDGE_CLOUD": "127.0.0.1:9",
            "CLEAVE_EDGE_WHEN_DRAINED": "exit",
            "CLEAVE_EDGE_PLAN": "edge-only",
        }
        if ForkedDaemon("edge", environment, place / "log").wait(START_S):
            raise RuntimeError((place / "log").read_text())
        results = (place / "results.jsonl").read_bytes()
        assert judge(results, [frame.name for frame in self.frames]).good
        return {r["name"]: r["top5"][0]["index"] for r in map(json.loads, results.splitlines())}

    @property
    def daemons(self) -> dict[str, ForkedDaemon]:
        return {**self.clouds, **{edge.name: edge.daemon for edge in self.edges}}

    async def census(self) -> dict[str, Census]:
        """Count what each daemon holds that runs."""
        running = {name: daemon for name, daemon in self.daemons.items() if daemon.running}
        counts = [
            asyncio.to_thread(take_census, daemon.pid, self.root / f"{name}.tasks")
            for name, daemon in running.items()
        ]
        return dict(zip(running, await asyncio.gather(*counts), strict=True))

    async def rest(self) -> None:
        """Have the frames that are on their way answered, and offer no more. Raises `TimeoutError`."""
        for edge in self.edges:
            edge.fed = False
        await asyncio.gather(*(edge.drained(SETTLED_S) for edge in self.edges))

    async def at_rest(self) -> dict[str, Census]:
        """Count a few times, without any frames; return what was there each time."""
        await self.rest()
        least = await self.census()
        for _ in range(4):
            await asyncio.sleep(0.3)
            least = {name: census.least(least[name]) for name, census in (await self.census()).items()}
        return least

    async def settled(self, before: dict[str, Census]) -> tuple[dict[str, Census], list[str]]:
        """Count until nobody holds more than before, or time is up; return the counts, and what there is more of.

        What comes and goes by itself (a bandwidth test) is gone in one of the counts; a leak is in all of them.
        """
        deadline = time.monotonic() + SETTLED_S
        after = await self.census()
        while True:
            now = await self.census()
            after = {name: census.least(after[name]) for name, census in now.items()}
            left = [
                f"{name} holds more than before: {more}"
                for name in after
                for more in after[name].beyond(before[name], THREADS_SPARE)
            ]
            if not left or time.monotonic() > deadline:
                return after, left
            await asyncio.sleep(0.5)

    def complaints(self) -> list[str]:
        """Return what the logs hold that is no entry, and entries with exceptions."""
        return [
            f"{name} complained: {complaint}"
            for name in self.daemons
            for complaint in tracebacks(self.root / f"{name}.log")[:3]
        ]

    async def end(self) -> list[str]:
        """End all daemons in good order; say who did not."""
        bad = []
        for name, daemon in self.daemons.items():
            if not daemon.running:
                bad.append(f"{name} ended before its time, with status {daemon.status}")
                continue
            os.kill(daemon.pid, signal.SIGTERM)
            try:
                status = await asyncio.to_thread(daemon.wait, DRAIN_S)
            except TimeoutError as error:
                bad.append(str(error))
            else:
                if status:
                    bad.append(f"{name} ended with status {status}")
        return bad

    def kill(self) -> None:
        """End whatever still runs."""
        for daemon in self.daemons.values():
            daemon.kill()


def draw(cuts: int, edges: int, seed: int, longest_s: float, *, each: bool) -> list[list[Cut]]:
    """Draw the cuts of each edge: of kinds at random, or in turn over all edges."""
    drawn: list[list[Cut]] = []
    for edge in range(edges):
        rng = random.Random(f"{seed} {edge}")
        kinds = ([*HARMS][number % len(HARMS)] if each else None for number in range(edge, cuts, edges))
        drawn.append([Cut.draw(rng, kind, longest_s) for kind in kinds])
    return drawn


async def run(scene: Scene, cuts: Sequence[Sequence[Cut]], leniency: float) -> tuple[str, list[str]]:
    """Run the cuts on all edges at the same time; return the report, and what is broken."""
    edges = scene.edges
    async with contextlib.AsyncExitStack() as links:
        for edge in edges:
            await links.enter_async_context(edge.link)
        feeding = [asyncio.create_task(edge.feed(scene.frames)) for edge in edges]
        try:
            await asyncio.gather(*(edge.flowing(START_S) for edge in edges))
            before = await scene.at_rest()
            for edge in edges:
                edge.fed = True
            began = time.monotonic()
            await asyncio.gather(
                *(edge.run_cuts(its, leniency) for edge, its in zip(edges, cuts, strict=True))
            )
            seconds = time.monotonic() - began
            try:
                await scene.rest()
                bad = []
            except TimeoutError as error:
                bad = [str(error)]
            after, left = await scene.settled(before)
            bad += left
        finally:
            for task in feeding:
                task.cancel()
            await asyncio.gather(*feeding, return_exceptions=True)
        for task in feeding:
            if not task.cancelled():
                task.result()
        bad += [f"{edge.name} is not connected in the end" for edge in edges if not edge.connected]
        bad += await scene.end()
    bad += scene.complaints()
    verdicts = {edge.name: edge.verdict(scene.classes) for edge in edges}
    bad += [f"{name}: {verdict}" for name, verdict in verdicts.items() if not verdict.good]
    outcomes = [outcome for edge in edges for outcome in edge.outcomes]
    bad += [f"not recovered in time: {outcome}" for outcome in outcomes if not outcome.good]
    wanted = sum(map(len, cuts))
    if len(outcomes) < wanted:
        bad.append(f"only {len(outcomes)} of {wanted} cuts were made")
    return report(outcomes, [*verdicts.values()], before, after, seconds), bad


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cuts", type=int, default=1000, help="of all edges together")
    parser.add_argument("--edges", type=int, default=8)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--each", action="store_true", help="take the kinds of harm in turn, not at random")
    parser.add_argument("--longest-s", type=float, default=LONGEST_S, help="the longest outage")
    parser.add_argument("--leniency", type=float, default=1.0, help="what the bars are multiplied by")
    chosen = parser.parse_args(arguments)
    cuts = draw(chosen.cuts, chosen.edges, chosen.seed, chosen.longest_s, each=chosen.each)
    print(f"seed {chosen.seed}", flush=True)
    root = Path(tempfile.mkdtemp(prefix="cleave-cuts-"))
    scene = Scene(root, chosen.edges)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the daemons are no children of a terminal
    try:
        text, bad = asyncio.run(run(scene, cuts, chosen.leniency))
    finally:
        scene.kill()
    print(text)
    for one in bad:
        print(f"BROKEN: {one}", file=sys.stderr)
    if bad:
        print(f"kept in {root}", file=sys.stderr)
        return 1
    shutil.rmtree(root)
    return 0


if __name__ == "__main__":
    sys.exit(main())
