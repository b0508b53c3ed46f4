"""Write the table of metrics into docs/seeing.md from the metrics themselves.

python docs/write_metrics.py          write the table
python docs/write_metrics.py --check  say whether it is up to date
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry

from cloud_daemon import metrics as cloud
from common.web.metric_table import Reading
from edge_daemon import metrics as edge

PAGE = Path(__file__).with_name("seeing.md")
BEGIN, END = "<!-- metrics: written by `make docs` -->\n", "<!-- end of metrics -->\n"

Row = tuple[str, str, str, str]


def counted(registry: CollectorRegistry) -> Iterator[Row]:
    """Yield name, kind, labels and meaning of what a registry counts."""
    for metric in registry.collect():
        if metric.name.endswith("_created"):
            continue
        labels = sorted({name for sample in metric.samples for name in sample.labels} - {"le"})
        suffix = "_total" if metric.type == "counter" else ""
        yield metric.name + suffix, metric.type, ", ".join(labels), metric.documentation


def read(table: Iterable[Reading]) -> Iterator[Row]:
    """Yield the same of what is read off a status."""
    for reading in table:
        yield reading.name, reading.kind, ", ".join(reading.labels), reading.help


def rows() -> list[Row]:
    """Return every metric of both daemons, by name."""
    return sorted(
        {
            *read(edge.READINGS),
            *read(cloud.READINGS),
            *counted(edge.EdgeMetrics().registry),
            *counted(cloud.CloudMetrics().registry),
        }
    )


def table() -> str:
    """Return the table as Markdown."""
    lines = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    lines += [f"| `{name}` | {kind} | {labels} | {help} |" for name, kind, labels, help in rows()]
    return "\n".join(lines) + "\n"


def main() -> int:
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    wanted = f"{before}{BEGIN}\n{table()}\n{END}{after}"
    if "--check" in sys.argv[1:]:
        if text != wanted:
            print("docs/seeing.md is not up to date: run `make docs`", file=sys.stderr)
        return int(text != wanted)
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
