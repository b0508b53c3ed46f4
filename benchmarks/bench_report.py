"""`docs/benchmarks.md` from the rows: what stands between a section's markers is written anew, all else stays.

    <!-- bench:regret -->
    … generated …
    <!-- /bench:regret -->

A section of which nothing was measured keeps what stands there; where nothing does, it says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.bench_machine import Machine
from benchmarks.bench_part_rows import CodecRow, CudaRow, ExecutorRow, OverheadRow, RpcRow
from benchmarks.bench_rows import AdaptationRow, RegretRow, ThroughputRow
from benchmarks.bench_store import Keyed, Saved, read_all
from benchmarks.bench_tables import (
    adaptation_table,
    codec_table,
    cuda_table,
    executor_table,
    overhead_table,
    regret_table,
    rpc_table,
    throughput_table,
    verdict_table,
)
from benchmarks.bench_verdicts import verdicts

NOT_MEASURED = "Not measured."
_SECTION = re.compile(r"<!-- bench:(?P<name>\S+) -->\n(?P<body>.*?)<!-- /bench:(?P=name) -->", re.DOTALL)

Row = TypeVar("Row", bound=Keyed)


@dataclass(frozen=True, slots=True)
class Measured:
    """All that there is in the benchmark's directory, section by section."""

    regret: Sequence[Saved[RegretRow]] = ()
    throughput: Sequence[Saved[ThroughputRow]] = ()
    overhead: Sequence[Saved[OverheadRow]] = ()
    adaptation: Sequence[Saved[AdaptationRow]] = ()
    executors: Sequence[Saved[ExecutorRow]] = ()
    rpc: Sequence[Saved[RpcRow]] = ()
    codecs: Sequence[Saved[CodecRow]] = ()
    cuda: Sequence[Saved[CudaRow]] = ()
    """Not among `all`: measured on another machine, it judges itself and leaves the other sections' verdicts."""
    all: Sequence[Saved[Any]] = field(init=False)

    def __post_init__(self) -> None:
        parts = (
            self.regret,
            self.throughput,
            self.overhead,
            self.adaptation,
            self.executors,
            self.rpc,
            self.codecs,
        )
        object.__setattr__(self, "all", [saved for part in parts for saved in part])

    @classmethod
    def load(cls, out: Path) -> Measured:
        return cls(
            read_all(out / "regret", RegretRow),
            read_all(out / "throughput", ThroughputRow),
            read_all(out / "overhead", OverheadRow),
            read_all(out / "adaptation", AdaptationRow),
            read_all(out / "executors", ExecutorRow),
            read_all(out / "rpc", RpcRow),
            read_all(out / "codecs", CodecRow),
            read_all(out / "cuda", CudaRow),
        )


def sections_of(measured: Measured) -> Mapping[str, str]:
    """Return the text of each section that something was measured for."""
    regret, throughput = rows_of(measured.regret), rows_of(measured.throughput)
    overhead, adaptation = rows_of(measured.overhead), rows_of(measured.adaptation)
    texts: dict[str, str] = {}
    if measured.all:
        texts["machine"] = machines(measured.all)
        judged = verdicts(
            regret, throughput, overhead, adaptation, rows_of(measured.codecs), rows_of(measured.executors)
        )
        texts["verdicts"] = verdict_table([verdict for found in judged.values() for verdict in found])
    if regret:
        texts["regret"] = regret_table(regret)
    if throughput:
        texts["throughput"] = throughput_table(throughput)
    if overhead:
        texts["overhead"] = overhead_table(overhead)
    if adaptation:
        texts["adaptation"] = adaptation_table(adaptation)
    if executors := rows_of(measured.executors):
        texts["executors"] = executor_table(executors)
    if codecs := rows_of(measured.codecs):
        texts["codecs"] = codec_table(codecs)
    if rpc := rows_of(measured.rpc):
        texts["rpc"] = rpc_table(rpc)
    if cuda := rows_of(measured.cuda):
        texts["cuda"] = f"{machines(measured.cuda)}\n\n{cuda_table(cuda)}"
    return texts


def rows_of(saved: Sequence[Saved[Row]]) -> list[Row]:
    return [row for part in saved for row in part.rows]


def machines(saved: Sequence[Saved[Any]]) -> str:
    """Say on which machine the sections were measured, and when; each machine, if they were several."""
    lines = []
    for machine in dict.fromkeys(part.machine for part in saved):
        times = sorted(part.measured_at for part in saved if part.machine == machine)
        when = times[0] if times[0] == times[-1] else f"{times[0]} to {times[-1]}"
        links = sorted({str(part.settings["link"]) for part in saved if "link" in part.settings})
        lines.append(_describe(machine, when, links))
    return "\n\n".join(lines)


def _describe(machine: Machine, when: str, links: Sequence[str]) -> str:
    link = f" Link: {' and '.join(links)}." if links else ""
    return f"Measured {when} on {machine}.{link}"


def render(document: str, texts: Mapping[str, str]) -> str:
    """Return `document` with the texts between their sections' markers.

    Raises `ValueError` naming a section that the document has no markers for.
    """
    names = {match["name"] for match in _SECTION.finditer(document)}
    if missing := sorted(set(texts) - names):
        raise ValueError(f"no markers <!-- bench:{missing[0]} --> in the document")

    def fill(match: re.Match[str]) -> str:
        body = texts.get(match["name"]) or match["body"].strip() or NOT_MEASURED
        return f"<!-- bench:{match['name']} -->\n{body}\n<!-- /bench:{match['name']} -->"

    return _SECTION.sub(fill, document)


def write_report(document: Path, out: Path) -> None:
    """Write the document anew with what is measured in `out`."""
    text = render(document.read_text(encoding="utf-8"), sections_of(Measured.load(out)))
    document.write_text(text, encoding="utf-8")
