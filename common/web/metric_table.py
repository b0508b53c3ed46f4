"""Metrics read off a status: a table says each one's name, kind, meaning, and where in the status it is.

The status is then the one source of what page, file and metrics show, and nothing is counted twice. Only what needs
each event (how long stages take) is a histogram of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

Document = Mapping[str, Any]
Samples = Iterable[tuple[tuple[str, ...], float | None]]


@dataclass(frozen=True, slots=True)
class Reading:
    """One metric. `read` gives its samples from a status: values of `labels`, and the number; none is left out."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    read: Callable[[Document], Samples]
    labels: tuple[str, ...] = ()

    def family(self, status: Document) -> Metric:
        make = CounterMetricFamily if self.kind == "counter" else GaugeMetricFamily
        family = make(self.name.removesuffix("_total"), self.help, labels=self.labels)
        for labels, value in self.read(status):
            if value is not None:
                family.add_metric(labels, float(value))
        return family


class StatusCollector(Collector):
    """The table's metrics of one status."""

    def __init__(self, table: Iterable[Reading], status: Document) -> None:
        self._table = table
        self._status = status

    def collect(self) -> Iterator[Metric]:
        for reading in self._table:
            yield reading.family(self._status)

    def describe(self) -> Iterable[Metric]:
        return ()  # nothing is read at registering


def registry_of(table: Iterable[Reading], status: Document) -> CollectorRegistry:
    """Return a registry that holds the table's metrics of `status`."""
    registry = CollectorRegistry()
    registry.register(StatusCollector(table, status))
    return registry


# --- where in a status a number is ----------------------------------------------------------------------
def at(*path: str, times: float = 1.0) -> Callable[[Document], Samples]:
    """Read one number at a path of names, in another unit if need be; nothing where there is none."""

    def read(status: Document) -> Samples:
        value = _find(status, path)
        return [] if value is None else [((), float(value) * times)]

    return read


def each(*path: str, only: Iterable[str] = (), but: Iterable[str] = ()) -> Callable[[Document], Samples]:
    """Read a number for each name of a mapping at a path: all, `only` some, or all `but` some."""
    wanted, unwanted = tuple(only), frozenset(but)

    def read(status: Document) -> Samples:
        found = _find(status, path) or {}
        names = wanted or tuple(name for name in found if name not in unwanted)
        return [((name,), found[name]) for name in names if name in found]

    return read


def one_of(*path: str, values: Iterable[str]) -> Callable[[Document], Samples]:
    """Read a name as a 1 for itself and a 0 for each other value it may have."""
    known = tuple(values)

    def read(status: Document) -> Samples:
        found = _find(status, path)
        return [((value,), float(value == found)) for value in known]

    return read


def _find(status: Document, path: Iterable[str]) -> Any:
    found: Any = status
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found
