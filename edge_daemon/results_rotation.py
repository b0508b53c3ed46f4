"""Results files that are full: their names, the order they came in, and how many are kept.

    results.jsonl.000007    the oldest that is kept
    results.jsonl.000008
    results.jsonl           the one that is written to

A file becomes a rotated one by a single rename, so each record is in exactly one file at every moment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from common.limits import MIB

NUMBER = re.compile(r"\d{6,}")


@dataclass(frozen=True, slots=True)
class Rotation:
    """When a results file is full, and how many full ones are kept."""

    nbytes: int
    keep: int

    @classmethod
    def of(cls, megabytes: float, keep: int) -> Rotation | None:
        """Make it of the settings; none if files are not rotated."""
        return cls(int(megabytes * MIB), keep) if megabytes else None


def rotated(path: Path) -> list[Path]:
    """Return the rotated files of a results file, the oldest first. Raises `OSError`."""
    if not path.parent.is_dir():
        return []
    start = f"{path.name}."
    names = [other.name for other in path.parent.iterdir() if other.name.startswith(start)]
    numbers = [name.removeprefix(start) for name in names]
    return [path.with_name(start + number) for number in sorted(filter(NUMBER.fullmatch, numbers), key=int)]


def rotate(path: Path) -> Path:
    """Move a full results file away; return its new name. Raises `OSError`: then it is where it was.

    The new name is as safe as the directory: whoever begins the next file syncs it.
    """
    before = rotated(path)
    number = int(before[-1].suffix.removeprefix(".")) + 1 if before else 1
    full = path.with_name(f"{path.name}.{number:06d}")
    path.rename(full)
    return full


def remove_old(path: Path, keep: int) -> None:
    """Remove rotated files that are not kept. Raises `OSError`: what it could not remove, the next one may."""
    files = rotated(path)
    for old in files[: max(len(files) - keep, 0)]:
        old.unlink(missing_ok=True)
