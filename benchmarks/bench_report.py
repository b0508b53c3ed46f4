"""`docs/benchmarks.md` from the rows: each section that there are rows of, and the verdicts on it, are written anew.

A section of which nothing was measured keeps what stands there, and so do its verdicts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.bench_bars import AS_JUDGED
from benchmarks.bench_document import render, table_lines
from benchmarks.bench_part_rows import CodecRow, CudaRow, ExecutorRow, ManyRow, OverheadRow, RpcRow
from benchmarks.bench_rows import AdaptationRow, RegretRow, ThroughputRow
from benchmarks.bench_store import Keyed, Saved, Settings, read_all
from benchmarks.bench_tables import (
    VERDICT_HEADING,
    adaptation_table,
    codec_table,
    cuda_table,
    executor_table,
    many_table,
    overhead_table,
    regret_table,
    rpc_table,
    table,
    throughput_table,
    verdict_cells,
)
from benchmarks.bench_verdicts import verdicts

Row = TypeVar("Row", bound=Keyed)
Cells = Mapping[str, Sequence[str]]
"""A table's lines, by their first cells."""


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
    many: Sequence[Saved[ManyRow]] = ()
    cuda: Sequence[Saved[CudaRow]] = ()
    """Measured on another machine, it judges itself, and leaves the other sections' verdicts."""

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
            read_all(out / "many", ManyRow),
            read_all(out / "cuda", CudaRow),
        )


def sections_of(measured: Measured, old_verdicts: Cells | None = None) -> Mapping[str, str]:
    """Return the text of each section that something was measured for, and the verdicts, if on any of these.

    Verdicts on the other sections are the old ones.
    """
    parts: Mapping[str, tuple[Sequence[Saved[Any]], Callable[[Sequence[Any]], str]]] = {
        "regret": (measured.regret, regret_table),
        "throughput": (measured.throughput, throughput_table),
        "overhead": (measured.overhead, overhead_table),
        "adaptation": (measured.adaptation, adaptation_table),
        "executors": (measured.executors, executor_table),
        "rpc": (measured.rpc, rpc_table),
        "codecs": (measured.codecs, codec_table),
        "many": (measured.many, many_table),
        "cuda": (measured.cuda, cuda_table),
    }
    texts = {
        name: f"{measured_on(name, saved)}\n\n{in_words(rows)}"
        for name, (saved, in_words) in parts.items()
        if (rows := rows_of(saved))
    }
    judged = verdicts(
        rows_of(measured.regret),
        rows_of(measured.throughput),
        rows_of(measured.overhead),
        rows_of(measured.adaptation),
        rows_of(measured.codecs),
        rows_of(measured.executors),
        rows_of(measured.many),
    )
    if set(judged) & set(texts):
        old = old_verdicts or {}
        lines = [
            verdict_cells(one) if name in texts else old.get(one.bar, verdict_cells(one))
            for name, found in judged.items()
            for one in found
        ]
        texts["verdicts"] = table(VERDICT_HEADING, lines)
    return texts


def rows_of(saved: Sequence[Saved[Row]]) -> list[Row]:
    return [row for part in saved for row in part.rows]


def measured_on(section: str, saved: Sequence[Saved[Any]]) -> str:
    """Say when, where and how a section was measured; in several lines, with their models, if not all of it alike."""
    alike: dict[str, list[Saved[Any]]] = {}
    for part in saved:
        if part.rows:
            alike.setdefault(f"on {part.machine}.{_link(part)}{_unlike(section, part)}", []).append(part)
    lines = []
    for how, parts in alike.items():
        first, last = min(p.since or p.measured_at for p in parts), max(p.measured_at for p in parts)
        when = first if first == last else f"{first} to {last}"
        models = dict.fromkeys(str(row.model) for row in rows_of(parts) if hasattr(row, "model"))
        what = f" ({', '.join(models)})" if len(alike) > 1 and models else ""
        lines.append(f"Measured{what} {when} {how}")
    return "\n\n".join(lines)


def _link(part: Saved[Any]) -> str:
    return f" Link: {part.settings['link']}." if "link" in part.settings else ""


def _unlike(section: str, part: Saved[Any]) -> str:
    """Name the settings that are not those that the bars mean."""
    wanted: Settings = dict(AS_JUDGED.get(section, {}))
    unlike = [
        f"{name.replace('_', ' ')} {_shown(part.settings.get(name))} instead of {_shown(value)}"
        for name, value in wanted.items()
        if part.settings.get(name) != value
    ]
    return f" Not as the bars have it: {', '.join(unlike)}." if unlike else ""


def _shown(value: object) -> str:
    return "unknown" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def write_report(document: Path, out: Path) -> None:
    """Write the document anew with what is measured in `out`."""
    old = document.read_text(encoding="utf-8")
    texts = sections_of(Measured.load(out), table_lines(old, "verdicts"))
    document.write_text(render(old, texts), encoding="utf-8")
