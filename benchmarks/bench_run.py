"""One run of the benchmark: what it is asked for, and where it keeps things."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from benchmarks.bench_bed import FRAMES, Bed, Pair
from benchmarks.bench_link import BenchLink
from benchmarks.bench_machine import Machine
from benchmarks.bench_store import Keyed, RowFile, Settings
from benchmarks.frames import make_frames

Row = TypeVar("Row", bound=Keyed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What is asked for. `cores` and `machine` are looked up before this process is pinned."""

    out: Path
    models: tuple[str, ...] | None
    """None: each section's own."""
    rates_bps: tuple[float, ...] | None
    weights: str
    slowdown: float
    executor: str
    rounds: int | None
    """None: each section's own."""
    resume: bool
    cores: tuple[int, ...] = field(default_factory=lambda: tuple(sorted(os.sched_getaffinity(0))))
    machine: Machine = field(default_factory=Machine.this)

    def pair(self, model: str) -> Pair:
        return Pair(model, self.weights, self.slowdown, self.executor)

    def bed(self, model: str, link: BenchLink) -> Bed:
        work = self.out / "daemons" / file_name(model)
        work.mkdir(parents=True, exist_ok=True)
        return Bed(self.pair(model), link, work, make_frames(self.out / "frames", FRAMES))

    def rows(
        self,
        section: str,
        name: str,
        kind: type[Row],
        settings: Settings,
        beside: Callable[[Row], bool] = lambda _: False,
    ) -> RowFile[Row]:
        """Return the file that a section keeps its rows in, with those of an earlier run if it is to go on.

        If it is not, only with rows that lie `beside` what is asked for: all else is measured anew.
        """
        rows = RowFile(self.out / section / f"{file_name(name)}.json", kind, settings, self.machine)
        if self.resume:
            rows.resume()
        else:
            rows.keep(beside)
        return rows

    def teller(self, section: str, model: str) -> Callable[[str], None]:
        """Return a function that shows what a section does now."""
        return partial(_say, section, model)


def _say(section: str, model: str, text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {section} {model}: {text}", file=sys.stderr, flush=True)


def file_name(model: str) -> str:
    """A model's name as a file may have it: a user's own has dots and a colon."""
    return model.replace(":", "-").replace("/", "-")
