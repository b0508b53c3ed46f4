"""The demo: one machine plays a weak edge, a cloud, and a network that changes under them.

    frames ─► cleave-edge (8 × slower) ─► emulated link: 100 → 20 → 5 → 0 → 50 Mbit/s ─► cleave-cloud

The same frames then run with the edge alone and with the cloud alone, for comparison.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.demo_report import Phase, PhaseResult, print_report, shortcomings
from benchmarks.emulated_link import EmulatedLink, Forward, LinkShape
from benchmarks.frames import make_frames
from benchmarks.pair import Cloud, DaemonError, Edge, free_port

WALK = (Phase(100.0, 24), Phase(20.0, 24), Phase(5.0, 30), Phase(0.0, 20), Phase(50.0, 36))
"""Mbit/s and frames of each phase."""
QUALITY = 88
"""Of the JPEGs: about 195 kB each, as a camera's 720p pictures are."""
LINK_HOST = "127.0.0.2"
"""The link listens on another loopback address than the cloud, so that both use the same ports."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What the demo is run with."""

    directory: Path
    model: str
    weights: str
    slowdown: float
    fps: float
    delay_ms: float


class Demo:
    """One run of the demo: two daemons at a time, joined by one link."""

    def __init__(self, setting: Setting, frames: list[Path], console: Console) -> None:
        self._setting = setting
        self._frames = frames
        self._console = console
        self._port, self._iperf_port = free_port(), free_port()

    async def run(self) -> list[PhaseResult]:
        async with self._link() as link, self._cloud() as cloud:
            await cloud.listening()
            walked = await self._walk(link)
            self._console.print("\nFor comparison, the same frames: the edge alone …")
            edge_only = await self._edge_only()
            self._console.print("… and the cloud alone, over the same link …")
            cloud_only = await self._cloud_only(link)
        for result in walked:
            result.edge_only = edge_only[result.phase]
            result.cloud_only = cloud_only.get(result.phase, [])
        return walked

    # --- the pieces -------------------------------------------------------------------------------------
    @contextlib.asynccontextmanager
    async def _link(self) -> AsyncIterator[EmulatedLink]:
        forwards = [
            Forward(listen=(LINK_HOST, port), target=("127.0.0.1", port))
            for port in (self._port, self._iperf_port)
        ]
        shape = LinkShape(rate_bps=WALK[0].mbit * 1e6, delay_ms=self._setting.delay_ms)
        async with EmulatedLink(forwards, shape) as link:
            yield link

    def _cloud(self) -> Cloud:
        return Cloud(
            self._setting.directory,
            port=self._port,
            CLEAVE_MODEL=self._setting.model,
            CLEAVE_WEIGHTS=self._setting.weights,
            CLEAVE_CLOUD_IPERF_PORT=self._iperf_port,
            CLEAVE_CLOUD_THREADS=1,
            CLEAVE_CLOUD_DEVICE="cpu",
        )

    def _edge(self, name: str, **settings: Any) -> Edge:
        common: dict[str, Any] = {
            "CLEAVE_MODEL": self._setting.model,
            "CLEAVE_WEIGHTS": self._setting.weights,
            "CLEAVE_EDGE_SLOWDOWN": self._setting.slowdown,
            "CLEAVE_EDGE_THREADS": 1,
            "CLEAVE_EDGE_DEVICE": "cpu",
            "CLEAVE_EDGE_NAME": f"demo-{name}",
            # The same rate in all three runs: a machine that rests between frames is slower at each.
            "CLEAVE_EDGE_SAMPLING_FPS": self._setting.fps,
        }
        return Edge(
            self._setting.directory,
            name=name,
            cloud=(LINK_HOST, self._port),
            **{**common, **settings},
        )

    # --- the walk ---------------------------------------------------------------------------------------
    async def _walk(self, link: EmulatedLink) -> list[PhaseResult]:
        edge = self._edge("results", CLEAVE_EDGE_REPLAN_INTERVAL_S=2)
        results: list[PhaseResult] = []
        async with edge:
            self._console.print("Both sides measure the model (frames are served meanwhile) …")
            edge.offer(self._frames[:1])
            await edge.planned(timeout_s=90)
            done = 0
            for phase in WALK:
                link.set_rate(phase.mbit * 1e6)
                began = time.time()
                edge.offer(self._frames[max(done, 1) : done + phase.frames])
                await self._watch(edge, phase, done)
                done += phase.frames
                records = edge.records()[done - phase.frames : done]
                results.append(
                    PhaseResult(phase, records, edge.status(), began, time.time(), _cloud_again(edge, began))
                )
        self._all_records = edge.records()
        return results

    async def _watch(self, edge: Edge, phase: Phase, done: int) -> None:
        """Show a phase's frames as they are answered."""
        self._console.print(f"\n[bold]{phase.label}[/bold]")
        shown, cut = done, ""
        while shown < done + phase.frames:
            await edge.answered(shown + 1, timeout_s=60)
            for record in edge.records()[shown : done + phase.frames]:
                shown += 1
                now = record["plan"]["cut"] + (", finished on the edge" if "fallback" in record else "")
                if now != cut:
                    cut = now
                    self._console.print(f"  frame {record['frame']:3d}  [cyan]{cut}[/cyan]", end="")
                    self._console.print(f"  ({record['plan']['mode']})", highlight=False)
                self._show(record, shown, len(self._frames))

    def _show(self, record: dict[str, Any], shown: int, total: int) -> None:
        if not self._console.is_terminal:
            return
        top = record["top5"][0]["label"] if record["top5"] else record["error"]
        text = f"  {shown}/{total} frames  {record['ms']['total']:6.0f} ms  {top}"
        self._console.print(text[:100].ljust(100), end="\r", highlight=False)

    # --- the comparisons --------------------------------------------------------------------------------
    async def _edge_only(self) -> dict[Phase, list[dict[str, Any]]]:
        edge = self._edge("edge-only", CLEAVE_EDGE_PLAN="edge-only")
        edge.offer(self._frames)
        async with edge:
            await edge.answered(len(self._frames), timeout_s=120)
        split: dict[Phase, list[dict[str, Any]]] = {}
        done, records = 0, edge.records()
        for phase in WALK:
            split[phase] = records[done : done + phase.frames]
            done += phase.frames
        return split

    async def _cloud_only(self, link: EmulatedLink) -> dict[Phase, list[dict[str, Any]]]:
        edge = self._edge("cloud-only", CLEAVE_EDGE_PLAN="cloud-only")
        split: dict[Phase, list[dict[str, Any]]] = {}
        link.set_rate(WALK[0].mbit * 1e6)
        async with edge:
            await edge.until("cloud plan", lambda: edge.cut == "cloud-only", 60)
            done = answered = 0
            for phase in WALK:
                if phase.mbit:
                    link.set_rate(phase.mbit * 1e6)
                    edge.offer(self._frames[done : done + phase.frames])
                    await edge.answered(answered + phase.frames, timeout_s=90)
                    split[phase] = edge.records()[answered : answered + phase.frames]
                    answered += phase.frames
                done += phase.frames
        return split


def _cloud_again(edge: Edge, began: float) -> float | None:
    """Return the seconds from `began` to the first plan since then that uses the cloud."""
    for entry in edge.logged("plan"):
        at = _unix_time(entry["timestamp"])
        if at >= began and entry["cut"] != "edge-only":
            return at - began
    return None


def _unix_time(timestamp: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(timestamp).timestamp()


def choose_weights(model: str, wanted: str, console: Console) -> str:
    """Return `wanted`, or random weights, said loudly, where torchvision's cannot be had."""
    if wanted != "default":
        return wanted
    check = f"from models.zoo import load_model; load_model({model!r}, 'default')"
    tried = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    if tried.returncode == 0:
        return "default"
    console.print(
        f"[yellow]torchvision's weights for {model} cannot be had here (no internet?). "
        "The demo runs with RANDOM WEIGHTS (random:0): times are real, the answers mean nothing.[/yellow]"
    )
    return "random:0"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--directory", type=Path, default=Path("var/demo"))
    parser.add_argument("--model", default="alexnet")
    parser.add_argument("--weights", default="default")
    parser.add_argument("--slowdown", type=float, default=8.0, help="how much slower the edge is")
    parser.add_argument("--fps", type=float, default=2.8, help="frames taken per second")
    parser.add_argument("--delay-ms", type=float, default=5.0, help="of the link, one way")
    options = parser.parse_args()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
    started = time.monotonic()
    directory = options.directory.absolute()
    for old in (
        *directory.glob("*-inbox"),
        directory / "results",
        directory / "cloud",
        directory / "edge-only",
    ):
        shutil.rmtree(old, ignore_errors=True)
    for old in (*directory.glob("*.jsonl"), *directory.glob("*.log"), directory / "cloud-only"):
        shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
    count = sum(phase.frames for phase in WALK)
    console.print(
        f"[bold]Cleave demo[/bold]: {options.model}, an edge {options.slowdown:g} × slower than the cloud"
    )
    console.print(f"Making {count} frames of 1280 × 720 in {os.path.relpath(directory / 'frames')} …")
    frames = make_frames(directory / "frames", count, quality=QUALITY)
    setting = Setting(
        directory,
        options.model,
        choose_weights(options.model, options.weights, console),
        options.slowdown,
        options.fps,
        options.delay_ms,
    )
    try:
        results = asyncio.run(Demo(setting, frames, console).run())
    except DaemonError as error:
        console.print(f"[red]{error}[/red]")
        return 1
    except KeyboardInterrupt:
        console.print("stopped")
        return 130
    print_report(results, setting.model, setting.weights, console)
    summary = [result.summary() for result in results]
    (directory / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    failures = shortcomings(results, frames, directory / "results.jsonl")
    for failure in failures:
        console.print(f"[red]fell short: {failure}[/red]")
    console.print(
        f"\nA record for each frame: {os.path.relpath(directory / 'results.jsonl')}; "
        f"logs beside it. {time.monotonic() - started:.0f} s in all."
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
