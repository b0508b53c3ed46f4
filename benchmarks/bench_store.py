"""Rows on disk: written as soon as measured, and found again by a run that goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from pydantic import TypeAdapter, ValidationError

from benchmarks.bench_machine import Machine
from common.files import write_atomically


class Keyed(Protocol):
    """A row that is known by a key within its file."""

    @property
    def key(self) -> str: ...


Row = TypeVar("Row", bound=Keyed)
Settings = dict[str, str | float | int | bool]


@dataclass(frozen=True, slots=True)
class Saved(Generic[Row]):
    """What a file of rows holds: with which settings, where and when they were measured."""

    settings: Settings
    machine: Machine
    measured_at: str
    """When the last of them was."""
    rows: tuple[Row, ...]
    since: str = ""
    """When the first of them was begun; files of an older form do not tell."""


class RowFile(Generic[Row]):
    """The rows of one section, or of one model in it.

    Rows of other settings, or of another machine, are another experiment's: they make room for the first new row.
    """

    def __init__(self, path: Path, kind: type[Row], settings: Settings, machine: Machine) -> None:
        self._path = path
        self._kind = kind
        self._settings = settings
        self._machine = machine
        self._since = _now()
        self.rows: tuple[Row, ...] = ()

    def resume(self) -> None:
        """Take over the rows of an earlier run with the same settings on the same machine."""
        self.keep(lambda _: True)

    def keep(self, wanted: Callable[[Row], bool]) -> None:
        """Take over the wanted ones of the rows that `resume` would."""
        saved = read(self._path, self._kind)
        if saved is None or (saved.settings, saved.machine) != (self._settings, self._machine):
            return
        self.rows = tuple(filter(wanted, saved.rows))
        if self.rows:
            self._since = saved.since or saved.measured_at

    def __contains__(self, key: str) -> bool:
        return any(row.key == key for row in self.rows)

    def add(self, row: Row) -> None:
        """Add a row, or put it in place of one of the same key, and write the file."""
        self.rows = (*(old for old in self.rows if old.key != row.key), row)
        saved = Saved(self._settings, self._machine, _now(), self.rows, self._since)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path, _adapter(self._kind).dump_json(saved, indent=1) + b"\n")


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M %Z")


def read(path: Path, kind: type[Row]) -> Saved[Row] | None:
    """Return what a file holds; none if there is none, or it holds rows of another form."""
    try:
        return _adapter(kind).validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def read_all(directory: Path, kind: type[Row]) -> Sequence[Saved[Row]]:
    """Return what all files of a section's directory hold, in the order of their names."""
    found = (read(path, kind) for path in sorted(directory.glob("*.json")))
    return [saved for saved in found if saved is not None]


def _adapter(kind: type[Row]) -> TypeAdapter[Saved[Row]]:
    return TypeAdapter(Saved[kind])  # type: ignore[valid-type]
