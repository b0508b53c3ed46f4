"""The pair with the tiny model, which answers a frame in a millisecond: what is tested is what surrounds it."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.pair import Cloud, Edge, free_port
from tests.tiny_model import jpeg

TINY: Mapping[str, str] = {"CLEAVE_MODEL": "tests.tiny_model:factory", "CLEAVE_WEIGHTS": "random:0"}
CLOUD: Mapping[str, str] = {
    **TINY,
    "CLEAVE_CLOUD_THREADS": "1",
    "CLEAVE_CLOUD_EXECUTOR": "torch",
    "CLEAVE_CLOUD_HTTP": "off",
}
EDGE: Mapping[str, str] = {
    **TINY,
    "CLEAVE_EDGE_THREADS": "1",
    "CLEAVE_EDGE_EXECUTOR": "torch",
    "CLEAVE_EDGE_REPLAN_INTERVAL_S": "0.2",
    "CLEAVE_EDGE_HTTP": "off",
}


def make_cloud(directory: Path, port: int, **settings: Any) -> Cloud:
    return Cloud(directory, port=port, **{**CLOUD, "CLEAVE_CLOUD_IPERF_PORT": free_port(), **settings})


def make_edge(directory: Path, cloud: tuple[str, int] | None = None, **settings: Any) -> Edge:
    """Make an edge; without a cloud, one that has nobody to connect to."""
    return Edge(directory, cloud=cloud or ("127.0.0.1", free_port()), **{**EDGE, **settings})


def make_frames(directory: Path, count: int) -> list[Path]:
    """Make small JPEGs, named in order."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count):
        path = directory / f"{number:04d}.jpg"
        path.write_bytes(jpeg(number))
        paths.append(path)
    return paths


def offer(frames: Iterable[Path], inbox: Path) -> None:
    """Put frames into an inbox at once, without copying them."""
    inbox.mkdir(parents=True, exist_ok=True)
    for frame in frames:
        os.link(frame, inbox / frame.name)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a results file says of a set of files: for each exactly one record, with the right class."""

    records: int
    lost: int
    doubled: int
    wrong: int
    garbage: int

    @property
    def good(self) -> bool:
        return not (self.lost or self.doubled or self.wrong or self.garbage)


def judge(results: bytes, names: Iterable[str], classes: Mapping[str, int] | None = None) -> Verdict:
    """Judge a results file's content; `classes` are the right answers, by file."""
    told: Counter[str] = Counter()
    wrong = garbage = 0
    for line in results.splitlines(keepends=True):
        try:
            record = json.loads(line)
            told[record["name"]] += 1
        except (ValueError, KeyError, TypeError):
            garbage += 1
            continue
        garbage += not line.endswith(b"\n")
        if classes is not None:
            wrong += not record["top5"] or record["top5"][0]["index"] != classes.get(record["name"])
    wanted = set(names)
    return Verdict(
        records=sum(told.values()),
        lost=len(wanted - set(told)),
        doubled=sum(told.values()) - len(told),
        wrong=wrong,
        garbage=garbage + len(set(told) - wanted),
    )


def tracebacks(log: Path) -> list[str]:
    """Return what a daemon's log holds that is no entry, and entries with exceptions: there should be none."""
    found = []
    for line in log.read_bytes().splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            found.append(line.decode(errors="replace"))
            continue
        if "exception" in entry:
            found.append(str(entry))
    return found
