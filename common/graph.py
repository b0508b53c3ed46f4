"""The model as the planner sees it: a DAG of units, with neither weights nor torch in it."""

from __future__ import annotations

import graphlib
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from common.errors import PlanError

DTYPE_BYTES: Mapping[str, int] = {
    "bool": 1,
    "uint8": 1,
    "int8": 1,
    "int16": 2,
    "int32": 4,
    "int64": 8,
    "float16": 2,
    "bfloat16": 2,
    "float32": 4,
    "float64": 8,
}
"""The element types a tensor may have, with their sizes in bytes. Anything else never crosses the wire."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Element type and shape of a tensor."""

    dtype: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.dtype not in DTYPE_BYTES:
            raise PlanError(f"dtype {self.dtype!r} is not one of {', '.join(DTYPE_BYTES)}")
        if any(size < 0 for size in self.shape):
            raise PlanError(f"shape {self.shape} has a negative size")

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * DTYPE_BYTES[self.dtype]


@dataclass(frozen=True, slots=True)
class Unit:
    """The smallest piece of work that is placed as a whole (EdgeFlow's execution unit).

    A unit reads the outputs of the units named in `inputs` and has exactly one output tensor of
    `output_bytes` bytes; `output` is that tensor's type and shape for the profiled frame, where known.
    """

    name: str
    inputs: tuple[str, ...]
    output_bytes: int
    output: TensorSpec | None = None


class ModelGraph:
    """A DAG of units with one source (the frame) and one sink (the answer), in topological order.

    Raises `PlanError`, naming the culprit, for duplicate or unknown names, a unit listed before one of its
    inputs, and for anything but one source and one sink.
    """

    def __init__(self, units: Iterable[Unit]) -> None:
        self.units: tuple[Unit, ...] = tuple(units)
        self.index: Mapping[str, int] = {unit.name: i for i, unit in enumerate(self.units)}
        if len(self.index) != len(self.units):
            seen: set[str] = set()
            twice = next(u.name for u in self.units if u.name in seen or seen.add(u.name))  # type: ignore[func-returns-value]
            raise PlanError(f"unit {twice!r} is listed twice")
        for i, unit in enumerate(self.units):
            for name in unit.inputs:
                if name not in self.index:
                    raise PlanError(f"unit {unit.name!r} reads {name!r}, which is no unit of this graph")
                if self.index[name] >= i:
                    raise PlanError(f"unit {unit.name!r} is listed before its input {name!r}")
        self.successors: Mapping[str, tuple[str, ...]] = self._successors()
        self.source = self._only("source", [u.name for u in self.units if not u.inputs])
        self.sink = self._only("sink", [u.name for u in self.units if not self.successors[u.name]])

    @classmethod
    def from_links(cls, units: Mapping[str, int], links: Iterable[tuple[str, str]]) -> ModelGraph:
        """Build a graph from output sizes in bytes and links (producer, consumer), in any order.

        Raises `PlanError` for cycles (naming one), and as the constructor does.
        """
        inputs: dict[str, list[str]] = {name: [] for name in units}
        for producer, consumer in links:
            for name in (producer, consumer):
                if name not in inputs:
                    raise PlanError(f"link {producer!r} → {consumer!r}: {name!r} is no unit of this graph")
            if producer not in inputs[consumer]:
                inputs[consumer].append(producer)
        try:
            order = list(graphlib.TopologicalSorter(inputs).static_order())
        except graphlib.CycleError as error:
            raise PlanError(f"the links form a cycle: {' → '.join(error.args[1])}") from None
        return cls(Unit(name, tuple(inputs[name]), units[name]) for name in order)

    def __len__(self) -> int:
        return len(self.units)

    def __getitem__(self, name: str) -> Unit:
        return self.units[self.index[name]]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(unit.name for unit in self.units)

    def is_closed(self, members: frozenset[str]) -> bool:
        """Say whether `members` holds, with each unit, all of its ancestors."""
        return all(name in members for unit in self.units if unit.name in members for name in unit.inputs)

    def crossing(self, members: frozenset[str]) -> tuple[str, ...]:
        """Return the members whose output some unit outside `members` reads, in topological order."""
        return tuple(
            unit.name
            for unit in self.units
            if unit.name in members and any(w not in members for w in self.successors[unit.name])
        )

    def with_output_bytes(self, sizes: Mapping[str, int]) -> ModelGraph:
        """Return this graph with other output sizes (bytes) for the units named in `sizes`."""
        return ModelGraph(
            replace(unit, output_bytes=sizes.get(unit.name, unit.output_bytes)) for unit in self.units
        )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over names and links. Sizes are left out: frames differ in size, the graph does not."""
        document = [[unit.name, unit.inputs] for unit in self.units]
        return hashlib.sha256(json.dumps(document, separators=(",", ":")).encode()).hexdigest()

    def _successors(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, list[str]] = {unit.name: [] for unit in self.units}
        for unit in self.units:
            for name in dict.fromkeys(unit.inputs):
                found[name].append(unit.name)
        return {name: tuple(consumers) for name, consumers in found.items()}

    @staticmethod
    def _only(role: str, names: list[str]) -> str:
        if len(names) != 1:
            shown = ", ".join(repr(name) for name in names[:5]) or "none"
            raise PlanError(f"a model has exactly one {role}; this graph has {len(names)} ({shown})")
        return names[0]
