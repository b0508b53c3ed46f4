"""The demo: one machine plays a weak edge, a cloud, and a network that changes under them.

    frames ─► cleave-edge (8 × slower) ─► emulated link: 100 → 20 → 5 → 0 → 50 Mbit/s ─► cleave-cloud

The same frames also run with the edge alone and with the cloud alone, in turn, for comparison.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console

from benchmarks.demo_report import Phase, print_report, shortcomings
from benchmarks.demo_walk import DAEMONS, Setting, Walk
from benchmarks.frames import make_frames
from benchmarks.pair import DaemonError

WALK = (Phase(100.0, 24), Phase(20.0, 24), Phase(5.0, 30), Phase(0.0, 24), Phase(50.0, 36))
"""Mbit/s and frames of each phase."""
QUALITY = 88
"""Of the JPEGs: about 195 kB each, as a camera's 720p pictures are."""


def clear(directory: Path) -> None:
    """Remove what an earlier run's daemons left: a profile or an answer of then would count as of now."""
    for name in DAEMONS:
        for old in (directory / name, directory / f"{name}-inbox"):
            shutil.rmtree(old, ignore_errors=True)
        for suffix in (".jsonl", ".log"):
            (directory / f"{name}{suffix}").unlink(missing_ok=True)


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
    clear(directory)
    count = 1 + sum(phase.frames for phase in WALK)  # the first warms up and counts for no phase
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
        WALK,
    )
    try:
        results = asyncio.run(Walk(setting, frames, console).run())
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
