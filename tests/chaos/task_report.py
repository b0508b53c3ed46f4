"""A forked daemon tells how many asyncio tasks it has, and how many of Python's blocks, when asked by a signal."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
import time
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Told:
    """What a daemon has: its tasks by what they run, and the blocks of memory that Python's small objects take."""

    tasks: Mapping[str, int]
    blocks: int


def report_tasks(path: Path, *, collect: bool = False) -> None:
    """Have SIGUSR1 write the number of this process's tasks to `path`, by what they run, as JSON.

    With `collect` what nobody refers to goes first: errors that no one took and sockets left open then tell of
    themselves in the log.
    """
    if collect:
        warnings.simplefilter("always", ResourceWarning)

    def report(*_: object) -> None:
        if collect:
            gc.collect()
        try:
            tasks = asyncio.all_tasks()
        except RuntimeError:  # there is no loop yet, or none any more
            return
        named = Counter(getattr(task.get_coro(), "__qualname__", "?") for task in tasks)
        scratch = path.with_suffix(".new")
        told = {"tasks": dict(sorted(named.items())), "blocks": sys.getallocatedblocks()}
        scratch.write_text(json.dumps(told))
        scratch.replace(path)

    signal.signal(signal.SIGUSR1, report)


def ask_for_tasks(pid: int, path: Path, timeout_s: float = 5.0) -> Mapping[str, int] | None:
    """Return the tasks of a process that reports to `path`; none where it does not in time."""
    told = ask(pid, path, timeout_s)
    return told.tasks if told is not None else None


def ask(pid: int, path: Path, timeout_s: float = 5.0) -> Told | None:
    """Return what a process reports to `path`; none where it does not in time."""
    path.unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR1)
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            return Told(**json.loads(path.read_text()))
        except FileNotFoundError:
            time.sleep(0.01)
    return None
