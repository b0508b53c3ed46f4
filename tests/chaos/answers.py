"""The records of an edge that is being watched: read as they come, and kept as little as a judgement needs."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Answered:
    """One record. `at` is when the answer was there, `begun` when the edge began the frame, in Unix seconds."""

    name: str
    at: float
    begun: float
    ran: str

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Answered:
        at = datetime.fromisoformat(record["answered_at"]).timestamp()
        return cls(record["name"], at, at - record["ms"]["total"] / 1e3, record["ran"])

    @property
    def by_cloud(self) -> bool:
        """Whether the answer is the cloud's."""
        return self.ran in ("cloud", "split")


class RecordTail:
    """Reads a results file as it grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self.all: list[Answered] = []

    def read(self) -> Sequence[Answered]:
        """Return the whole records that are new."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                new = file.read()
        except FileNotFoundError:
            return ()
        whole = new[: new.rfind(b"\n") + 1]
        self._offset += len(whole)
        records = [Answered.of(json.loads(line)) for line in whole.splitlines()]
        self.all += records
        return records

    def since(self, moment: float) -> Iterator[Answered]:
        """Yield the records of answers from `moment` on, the latest first."""
        for record in reversed(self.all):
            if record.at < moment - 60.0:  # records come nearly in the order of their answers
                return
            if record.at >= moment:
                yield record


def cloud_again_s(tail: RecordTail, moment: float) -> float | None:
    """Return how long after `moment` the cloud answered a frame that was begun after it; none: not yet."""
    after = [
        record.at - moment for record in tail.since(moment) if record.by_cloud and record.begun >= moment
    ]
    return min(after, default=None)


def longest_gap_s(tail: RecordTail, since: float, until: float) -> float:
    """Return the longest time without any answer in an interval, its ends included."""
    moments = sorted([since, until, *(record.at for record in tail.since(since) if record.at <= until)])
    return max(later - earlier for earlier, later in itertools.pairwise(moments))
