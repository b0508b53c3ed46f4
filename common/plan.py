"""What the machines execute: a cut, the stages it makes, and the plan that carries them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from common.errors import PlanError
from common.graph import ModelGraph
from common.wire.codecs import OFFERED, RAW, fits, is_known

ANSWER = "answer"
"""Destination of the tensor that ends a frame: whoever asked for the answer."""


class Mode(StrEnum):
    """Which problem the planner solved (DADS, and the middle problem that DADS skips)."""

    LIGHT = "light"
    HEAVY = "heavy"
    OVERLOADED = "overloaded"
    DRAIN = "drain"
    STARTING = "starting"
    """Not planned yet: the profiles are still being measured."""
    PINNED = "pinned"
    """Not planned at all: the operator fixed the cut."""


class Cause(StrEnum):
    """Why a plan came into force, as a word to count by; its reason says it with the numbers."""

    START = "start"
    FIRST = "first"
    """The first one that was decided."""
    FASTER = "faster"
    RATE = "rate"
    """The one before no longer kept the sampling rate."""
    LINK_GONE = "link_gone"
    CLOUD_BUSY = "cloud_busy"
    DISAGREEMENT = "disagreement"
    """Answers under the one before, which was lossy, were too often not the whole model's."""
    PROFILING = "profiling"
    FIXED = "fixed"


@dataclass(frozen=True, slots=True)
class Cut:
    """A legal set of edge units, what follows from it, and what the crossing tensors are sent as.

    Make one with `Cut.of`. `codecs` has one for each crossing unit; it is empty where all are sent raw.
    """

    edge_units: tuple[str, ...]
    cloud_units: tuple[str, ...]
    crossing: tuple[str, ...]
    codecs: tuple[str, ...] = ()

    @classmethod
    def of(cls, graph: ModelGraph, edge_units: Iterable[str], codecs: Mapping[str, str] | None = None) -> Cut:
        """Build the cut with `edge_units` on the edge; all tuples are in topological order.

        `codecs` names a crossing unit's codec where it is not `raw`. Raises `PlanError` for unknown units, a set
        that is not closed, or one without the source, and for a codec that is not for its unit's tensor.
        """
        members = frozenset(edge_units)
        if unknown := members.difference(graph.index):
            raise PlanError(f"{sorted(unknown)[0]!r} is no unit of this graph")
        if graph.source not in members:
            raise PlanError(f"the source {graph.source!r} must be on the edge")
        if not graph.is_closed(members):
            unit = next(u for u in graph.units if u.name in members and not members.issuperset(u.inputs))
            missing = next(name for name in unit.inputs if name not in members)
            raise PlanError(f"not a closed set: {unit.name!r} is on the edge, its input {missing!r} is not")
        names = graph.names
        crossing = graph.crossing(members)
        return cls(
            edge_units=tuple(name for name in names if name in members),
            cloud_units=tuple(name for name in names if name not in members),
            crossing=crossing,
            codecs=_codecs(graph, crossing, codecs or {}),
        )

    @classmethod
    def edge_only(cls, graph: ModelGraph) -> Cut:
        return cls.of(graph, graph.names)

    @classmethod
    def cloud_only(cls, graph: ModelGraph) -> Cut:
        return cls.of(graph, [graph.source])

    @classmethod
    def from_label(cls, graph: ModelGraph, label: str) -> Cut:
        """Build the cut that `label` names: the crossing units determine it, with all that they read from.

        `after UNIT [as CODEC] [+ UNIT [as CODEC] …]`.

        Raises `PlanError` for unknown units and codecs, and for units that do not all cross the cut they make.
        """
        if label == "edge-only":
            return cls.edge_only(graph)
        if label == "cloud-only":
            return cls.cloud_only(graph)
        if not label.startswith("after "):
            raise PlanError(f"{label!r} is not edge-only, cloud-only, or after UNIT [as CODEC] [+ UNIT …]")
        codecs: dict[str, str] = {}
        for part in label.removeprefix("after ").split("+"):
            name, _, codec = part.partition(" as ")
            codecs[name.strip()] = codec.strip() or RAW
        members: set[str] = set()
        pending = list(codecs)
        while pending:
            name = pending.pop()
            if name not in graph.index:
                near = difflib.get_close_matches(name, graph.names, n=3)
                raise PlanError(
                    f"{name!r} is no unit of this graph; the nearest are {', '.join(near) or 'none'}"
                )
            if name not in members:
                members.add(name)
                pending += graph[name].inputs
        cut = cls.of(graph, members)
        if set(cut.crossing) != set(codecs):
            raise PlanError(f"{label!r} is no cut: {cut.label!r} is what these units make")
        return replace(cut, codecs=_codecs(graph, cut.crossing, codecs))

    @property
    def codec_of(self) -> Mapping[str, str]:
        """Each crossing unit's codec."""
        return dict(zip(self.crossing, self.codecs or [RAW] * len(self.crossing), strict=True))

    @property
    def label(self) -> str:
        """The cut in a few words: `edge-only`, `cloud-only`, or `after` its crossing units and their codecs."""
        if not self.cloud_units:
            return "edge-only"
        if len(self.edge_units) == 1 and not self.codecs:
            return "cloud-only"
        return "after " + " + ".join(
            name if codec == RAW else f"{name} as {codec}" for name, codec in self.codec_of.items()
        )


def _codecs(graph: ModelGraph, crossing: tuple[str, ...], codecs: Mapping[str, str]) -> tuple[str, ...]:
    """Return a codec for each crossing unit, or nothing where all are raw. Raises `PlanError` for what cannot be."""
    for name, codec in codecs.items():
        if name not in crossing:
            raise PlanError(f"{name!r} has a codec and does not cross")
        spec = graph[name].output
        if not is_known(codec):
            raise PlanError(f"{codec!r} is no codec; there are {RAW}, {', '.join(OFFERED)}")
        if spec is not None and not fits(codec, spec):
            raise PlanError(f"{codec} is not for {name!r}, which is {spec.dtype}{list(spec.shape)}")
    chosen = tuple(codecs.get(name, RAW) for name in crossing)
    return () if set(chosen) <= {RAW} else chosen


@dataclass(frozen=True, slots=True)
class Output:
    """A tensor a stage hands on: the unit it comes from, and the worker (or `ANSWER`) it goes to."""

    unit: str
    destination: str


@dataclass(frozen=True, slots=True)
class Stage:
    """What one worker executes of a frame: named units, tensors in, tensors out with destinations."""

    worker: str
    units: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[Output, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """Predicted times of one cut, in ms. `latency_ms` has round trip and answer in it where the cloud is used.

    `cloud_ms` is the cloud's stage: its computing, and its wait for other edges' frames.
    """

    edge_ms: float
    link_ms: float
    cloud_ms: float
    latency_ms: float

    @property
    def bottleneck_ms(self) -> float:
        return max(self.edge_ms, self.link_ms, self.cloud_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One agreement between edge and cloud on who executes what, known by its epoch."""

    epoch: int
    mode: Mode
    cut: Cut
    stages: tuple[Stage, ...]
    reason: str
    cause: Cause = Cause.START
    prediction: Prediction | None = None
    lower_bound_ms: float | None = None
    sustainable_fps: float | None = None
    bandwidth_bps: float | None = None
    edge_only_ms: float | None = None
    """What the edge alone would take, where that is known."""


def stages_of(cut: Cut, sink: str) -> tuple[Stage, ...]:
    """Lay a cut out as one stage (edge-only) or two, the edge's first."""
    if not cut.cloud_units:
        return (Stage("edge", cut.edge_units, (), (Output(sink, ANSWER),)),)
    head = Stage("edge", cut.edge_units, (), tuple(Output(unit, "cloud") for unit in cut.crossing))
    tail = Stage("cloud", cut.cloud_units, cut.crossing, (Output(sink, ANSWER),))
    return (head, tail)
