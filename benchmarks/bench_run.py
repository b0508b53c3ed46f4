"""One run of the benchmark: what it is asked for, and its sections, each of which keeps rows under its own name."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.bench_bed import FRAMES, Bed, Pair
from benchmarks.bench_link import BenchLink, bench_link
from benchmarks.bench_machine import Machine
from benchmarks.bench_regret import Effort, Regret
from benchmarks.bench_rows import RegretRow
from benchmarks.bench_store import Keyed, RowFile, Settings
from benchmarks.frames import make_frames

Row = TypeVar("Row", bound=Keyed)
FIRST_RATE_BPS = 100e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What is asked for. `cores` and `machine` are looked up before this process is pinned."""

    out: Path
    models: tuple[str, ...]
    rates_bps: tuple[float, ...]
    weights: str
    slowdown: float
    executor: str
    rounds: int | None
    resume: bool
    cores: tuple[int, ...] = field(default_factory=lambda: tuple(sorted(os.sched_getaffinity(0))))
    machine: Machine = field(default_factory=Machine.this)

    def pair(self, model: str) -> Pair:
        return Pair(model, self.weights, self.slowdown, self.executor)

    def bed(self, model: str, link: BenchLink) -> Bed:
        work = self.out / "daemons" / file_name(model)
        work.mkdir(parents=True, exist_ok=True)
        return Bed(self.pair(model), link, work, self.frames())

    def frames(self) -> list[Path]:
        return make_frames(self.out / "frames", FRAMES)

    def rows(self, section: str, name: str, kind: type[Row], settings: Settings) -> RowFile[Row]:
        """Return the file that a section keeps its rows in, with those of an earlier run if it is to go on."""
        rows = RowFile(self.out / section / f"{file_name(name)}.json", kind, settings, self.machine)
        if self.resume:
            rows.resume()
        return rows

    def say(self, section: str, model: str, text: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {section} {model}: {text}", file=sys.stderr, flush=True)


def file_name(model: str) -> str:
    """A model's name as a file may have it: a user's own has dots and a colon."""
    return model.replace(":", "-").replace("/", "-")


async def regret(run: Run) -> None:
    effort = Effort() if run.rounds is None else Effort(rounds=run.rounds)
    async with bench_link(FIRST_RATE_BPS, run.cores) as link:
        for model in run.models:
            bed = run.bed(model, link)
            rows = run.rows("regret", model, RegretRow, effort.settings(bed.pair, link))
            section = Regret(bed, effort, partial(run.say, "regret", model))
            await section.run(run.rates_bps, rows)


SECTIONS: Mapping[str, Callable[[Run], Coroutine[Any, Any, None]]] = {"regret": regret}
