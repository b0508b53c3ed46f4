"""What the demo has shown: a table of the phases, and what fell short."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.json_lines import JsonLines

AGAIN_WITHIN_S = 10.0
CUTS_AT_LEAST = 3
AS_GOOD = 1.10
"""The median may be this many times the better of edge-only and cloud-only."""

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Phase:
    """A bandwidth in Mbit/s (0: cut off), held for so many frames."""

    mbit: float
    frames: int

    @property
    def label(self) -> str:
        return f"{self.mbit:g} Mbit/s" if self.mbit else "cut off"


@dataclass(slots=True)
class PhaseResult:
    """One phase as it was walked: its records, the status at its end, and the same frames' comparisons."""

    phase: Phase
    records: list[Record]
    status: dict[str, Any]
    seconds: float
    cloud_again_s: float | None
    edge_only: list[Record] = field(default_factory=list)
    cloud_only: list[Record] = field(default_factory=list)

    @property
    def cuts(self) -> Counter[str]:
        return Counter(record["plan"]["cut"] for record in self.records)

    @property
    def better_ms(self) -> float:
        """The better of edge-only and cloud-only, in ms."""
        return min(median_ms(records) for records in (self.edge_only, self.cloud_only) if records)

    def summary(self) -> dict[str, Any]:
        """Return the phase's figures for machines."""
        return {
            "link_mbit": self.phase.mbit,
            "measured_mbit": self.status["link"]["bandwidth_mbit"],
            "frames": len(self.records),
            "cuts": dict(self.cuts),
            "modes": dict(Counter(record["plan"]["mode"] for record in self.records)),
            "median_ms": median_ms(self.records),
            "frames_per_s": len(self.records) / self.seconds,
            "edge_only_median_ms": median_ms(self.edge_only),
            "cloud_only_median_ms": median_ms(self.cloud_only) if self.cloud_only else None,
            "cloud_used_again_after_s": self.cloud_again_s,
        }


def median_ms(records: list[Record]) -> float:
    """Return the median time from the beginning of a frame's head to its answer."""
    return float(statistics.median(record["ms"]["total"] for record in records))


def print_report(results: list[PhaseResult], model: str, weights: str, console: Console) -> None:
    table = Table(
        title=f"{model}, weights {weights}. Times are medians in ms.",
        title_justify="left",
        box=box.SIMPLE_HEAD,
    )
    for name in ("link\nMbit/s", "measured\nMbit/s"):
        table.add_column(name, justify="right")
    for name in ("mode", "cut"):
        table.add_column(name, vertical="bottom")
    for name in ("frames", "frames\nper s", "latency\nms", "edge\nonly", "cloud\nonly", "to the\nbetter"):
        table.add_column(name, justify="right")
    for result in results:
        figures = result.summary()
        measured = figures["measured_mbit"]
        table.add_row(
            f"{result.phase.mbit:g}" if result.phase.mbit else "cut off",
            f"{measured:.1f}" if measured else "–",
            max(figures["modes"], key=figures["modes"].get),
            result.cuts.most_common(1)[0][0],
            str(figures["frames"]),
            f"{figures['frames_per_s']:.1f}",
            f"{figures['median_ms']:.0f}",
            f"{figures['edge_only_median_ms']:.0f}",
            f"{figures['cloud_only_median_ms']:.0f}" if result.cloud_only else "none",
            f"{figures['median_ms'] / result.better_ms - 1:+.0%}",
        )
    console.print()
    console.print(table)
    back = results[-1].cloud_again_s
    if back is not None:
        console.print(
            "“to the better”: against the better of edge only and cloud only; −10% is a tenth faster."
        )
        console.print(f"After the cut-off the cloud was used again {back:.1f} s after the link came back.")


def shortcomings(results: list[PhaseResult], frames: list[Path], path: Path) -> list[str]:
    """Return what the walk promised and did not show."""
    found: list[str] = []
    names = Counter(record["name"] for record in JsonLines(path).read())
    if names != Counter(frame.name for frame in frames):
        odd = {name: names[name] for frame in frames if names[(name := frame.name)] != 1}
        found.append(f"not exactly one record for each frame: {dict(list(odd.items())[:5])}")
    cuts = {result.cuts.most_common(1)[0][0] for result in results}
    if len(cuts) < CUTS_AT_LEAST:
        found.append(f"only {len(cuts)} different cuts ({', '.join(sorted(cuts))})")
    for result in results:
        if any(record["error"] for record in result.records):
            found.append(f"{result.phase.label}: frames with errors")
        if not result.phase.mbit and any(not record["ran"].startswith("edge") for record in result.records):
            found.append("frames were answered by a cloud that was cut off")
        median, better = median_ms(result.records), result.better_ms
        if median > AS_GOOD * better:
            found.append(f"{result.phase.label}: median {median:.0f} ms, the better end {better:.0f} ms")
    back = results[-1].cloud_again_s
    if back is None or back > AGAIN_WITHIN_S:
        found.append(f"the cloud was not used again within {AGAIN_WITHIN_S:g} s after the cut-off")
    return found
