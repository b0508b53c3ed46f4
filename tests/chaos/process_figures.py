"""What a process holds, as the kernel tells it: memory, descriptors, threads, children."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PROC = Path("/proc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One look at a process.

    `rss_bytes` is all that is resident; `anonymous_bytes` is the part that is no file's (heap, stacks, buffers); of
    `pss_bytes` each page counts by the share of one among all processes that map it.
    """

    rss_bytes: int
    anonymous_bytes: int
    pss_bytes: int
    descriptors: int
    threads: int


def look(pid: int) -> Figures:
    """Look at a process. Raises `OSError` when it is gone."""
    rollup = parse_rollup((PROC / str(pid) / "smaps_rollup").read_text())
    return Figures(
        rss_bytes=rollup["Rss"],
        anonymous_bytes=rollup["Anonymous"],
        pss_bytes=rollup["Pss"],
        descriptors=len(os.listdir(PROC / str(pid) / "fd")),
        threads=len(os.listdir(PROC / str(pid) / "task")),
    )


def rss_bytes(pid: int | Literal["self"]) -> int:
    """Return what is resident, at little cost to the process."""
    return int((PROC / str(pid) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def parse_rollup(text: str) -> dict[str, int]:
    """Read `/proc/PID/smaps_rollup`: bytes by name."""
    lines = (line.split() for line in text.splitlines()[1:])
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines}


def has_children(pid: int) -> bool:
    """Say whether a process has children now, zombies included."""
    try:
        tasks = list((PROC / str(pid) / "task").iterdir())
        return any((task / "children").read_text().strip() for task in tasks)
    except OSError:
        return False
