"""What a daemon holds: descriptors, threads, tasks, memory. What grows with each cut is a leak."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.process_figures import PROC, rss_bytes
from tests.chaos.task_report import ask_for_tasks

TOLD_S = 10.0
"""A daemon has this long to say what tasks it has."""


@dataclass(frozen=True, slots=True)
class Census:
    """What one daemon holds at a moment; descriptors by kind, tasks by their coroutine's name."""

    descriptors: Counter[str]
    tasks: Counter[str]
    threads: int
    resident_mb: float

    def least(self, other: Census) -> Census:
        """Return what there is in both: what comes and goes by itself is in neither."""
        return Census(
            self.descriptors & other.descriptors,
            self.tasks & other.tasks,
            min(self.threads, other.threads),
            min(self.resident_mb, other.resident_mb),
        )

    def beyond(self, before: Census, threads_spare: int) -> list[str]:
        """Say what there is more of than before; pools of threads may have grown by `threads_spare`."""
        more = []
        if descriptors := self.descriptors - before.descriptors:
            more.append(f"descriptors {dict(descriptors)}")
        if tasks := self.tasks - before.tasks:
            more.append(f"tasks {dict(tasks)}")
        if self.threads > before.threads + threads_spare:
            more.append(f"threads {before.threads} → {self.threads}")
        return more

    def __str__(self) -> str:
        return (
            f"{self.descriptors.total()} descriptors, {self.tasks.total()} tasks, {self.threads} threads, "
            f"{self.resident_mb:.0f} MB"
        )


def take_census(pid: int, told: Path) -> Census:
    """Count what a daemon holds; it writes its tasks to `told` on SIGUSR1. Raises `TimeoutError`."""
    tasks = ask_for_tasks(pid, told, TOLD_S)
    if tasks is None:
        raise TimeoutError(f"process {pid} did not say within {TOLD_S:g} s what tasks it has")
    return Census(
        descriptors=_descriptors(PROC / str(pid) / "fd"),
        tasks=Counter(tasks),
        threads=len([*(PROC / str(pid) / "task").iterdir()]),
        resident_mb=rss_bytes(pid) / 1e6,
    )


def _descriptors(directory: Path) -> Counter[str]:
    kinds: Counter[str] = Counter()
    for descriptor in directory.iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            target = os.readlink(descriptor)
            kinds[target.partition(":")[0] if ":[" in target or target.startswith("anon") else "file"] += 1
    return kinds
