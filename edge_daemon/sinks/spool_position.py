"""How far a spool has been confirmed, kept in a small file beside its segments."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog

from common.files import put_aside, write_atomically

log = structlog.get_logger()

NAME = "position.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """All before byte `offset` of segment `segment` is confirmed; `id` is the last record's that was.

    The spool follows the file `results` (empty: a stream; None: the position was damaged), since the record with the
    id `since` (empty: its first).
    """

    segment: int = 0
    offset: int = 0
    id: str = ""
    results: str | None = ""
    since: str = ""

    @classmethod
    def parse(cls, text: str) -> Position:
        """Raises `ValueError`, `TypeError` for what is none."""
        read = cls(**json.loads(text))
        if [type(value) for value in asdict(read).values()] != [int, int, str, str, str]:
            raise ValueError("not of the right types")
        if read.segment < 0 or read.offset < 0:
            raise ValueError("negative")
        return read


def read_position(directory: Path) -> Position | None:
    """Return the position kept, none if there is none. A damaged one is put aside. Raises `OSError`."""
    path = directory / NAME
    try:
        return Position.parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, RecursionError):
        log.error("spool: the position is damaged; some records are sent twice", kept=str(put_aside(path)))
        return Position(results=None)


def write_position(directory: Path, position: Position, *, sync: bool) -> None:
    """Replace the position. One that is lost unsynced sends some records twice, and loses none. Raises `OSError`."""
    text = json.dumps(asdict(position))
    if sync:
        write_atomically(directory / NAME, text)
        return
    scratch = directory / f".{NAME}"
    scratch.write_text(text, encoding="utf-8")
    scratch.replace(directory / NAME)
