"""Gather vertices into units: each has one output tensor, and no cut worth making is lost.

- A vertex whose value is no tensor that can cross (a tuple, complex numbers) is gathered with everything up
  to the first vertex that all ways to the answer pass through.
- A cheap follower (ReLU, a view, an operator with constants) joins the vertex it reads, when it is the only
  reader and its output is no larger: a cut between the two would send as much, or more, to save next to
  nothing. The joined vertices form a chain without side ways, so no cycle can arise.
- A cheap leader (a stride-1 average pool) joins its only reader when its output is no smaller than what it
  reads: stopping between the two would send as much as stopping before both. It has one way out, so no cycle
  can arise here either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import fx, nn

from common.graph import DTYPE_BYTES, TensorSpec
from models.purify import ACTIVATIONS, is_functional_activation
from models.shapes import TensorSeen
from models.specialise import Vertex, operator_name

_CHEAP_MODULES = (
    nn.AdaptiveAvgPool2d,
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.CELU,
    nn.ELU,
    nn.Flatten,
    nn.GELU,
    nn.Hardsigmoid,
    nn.Hardswish,
    nn.Hardtanh,
    nn.LeakyReLU,
    nn.LogSigmoid,
    nn.Mish,
    nn.PReLU,
    nn.ReLU,
    nn.ReLU6,
    nn.SELU,
    nn.SiLU,
    nn.Sigmoid,
    nn.Softplus,
    nn.Softsign,
    nn.Tanh,
    nn.Unflatten,
)
_CHEAP_OPERATORS = frozenset(
    {
        *ACTIVATIONS,
        *(
            "abs",
            "add",
            "clamp",
            "div",
            "exp",
            "mul",
            "neg",
            "pow",
            "rsub",
            "sqrt",
            "square",
            "sub",
            "truediv",
        ),
        *("contiguous", "expand", "flatten", "getitem", "movedim", "narrow", "permute", "reshape", "select"),
        *("squeeze", "swapaxes", "t", "transpose", "unflatten", "unsqueeze", "view", "adaptive_avg_pool2d"),
        *("batch_norm", "gelu", "sigmoid", "softplus", "tanh", "prelu", "float", "to", "type_as"),
    }
)
_LEADING_MODULES = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
_LEADING_OPERATORS = frozenset({"avg_pool1d", "avg_pool2d", "avg_pool3d", "pad"})
_IN_PLACE_MODULES = (
    nn.CELU,
    nn.ELU,
    nn.Hardsigmoid,
    nn.Hardswish,
    nn.Hardtanh,
    nn.LeakyReLU,
    nn.Mish,
    nn.ReLU,
    nn.ReLU6,
    nn.SELU,
    nn.SiLU,
)
_FRESH_MODULES = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_FRESH_OPERATORS = frozenset({"add", "cat", "concat", "mul", "sub"})
"""What always writes its result to new memory; a view would hand on somebody else's."""


@dataclass(frozen=True, slots=True, eq=False)
class TracedUnit:
    """A unit with its nodes in execution order; the last is its output. `output` is none for a frame's sizes."""

    name: str
    nodes: tuple[fx.Node, ...]
    inputs: tuple[str, ...]
    output: TensorSpec | None

    @property
    def last(self) -> fx.Node:
        return self.nodes[-1]


def gather(
    vertices: Sequence[Vertex], attributes: Mapping[str, Any], *, join: bool = True
) -> tuple[TracedUnit, ...]:
    """Gather `vertices`, in execution order and the pre-processing ones included, into units in that order.

    Without `join` every operator stays a unit of its own where that is possible: for planners to show what
    they can do.
    """
    readers = _readers(vertices)
    groups = {vertex: group for group in _regions(vertices, readers) for vertex in group}
    for vertex in vertices:
        if join and _joins(vertex, readers, attributes) and groups[vertex.inputs[0]] is not groups[vertex]:
            groups[vertex] = groups[vertex.inputs[0]]
            groups[vertex].append(vertex)
    for vertex in reversed(vertices):
        if join and _leads(vertex, readers, attributes) and groups[vertex] == [vertex]:
            groups[vertex] = groups[readers[vertex][0]]
            groups[vertex].insert(0, vertex)
    position = {vertex: i for i, vertex in enumerate(vertices)}
    distinct = {id(group): group for group in groups.values()}.values()
    ordered = sorted(distinct, key=lambda group: position[group[-1]])
    names: dict[Vertex, str] = {}
    units: list[TracedUnit] = []
    taken = {operator_name(vertex.node) for vertex in vertices if vertex.origin is None}
    for group in ordered:
        ours = group[0].origin is None  # pre-processing and answer: their names are promised
        name = operator_name(group[0].node) if ours else _free_name(_label(group, attributes), taken)
        names.update(dict.fromkeys(group, name))
        read = (names.get(source, name) for vertex in group for source in vertex.inputs)
        inputs = tuple(dict.fromkeys(source for source in read if source != name))
        nodes = tuple(node for vertex in group for node in (*vertex.helpers, vertex.node))
        units.append(TracedUnit(name, nodes, inputs, _spec(group[-1])))
    return tuple(units)


def allow_inplace(units: Sequence[TracedUnit], attributes: Mapping[str, Any]) -> int:
    """Let an activation overwrite what it reads where nobody can tell, and return how often.

    That is: the tensor was made by an operator of the same unit, in new memory, and nothing else reads it.
    """
    allowed = 0
    for unit in units:
        members = set(unit.nodes)
        for node in unit.nodes:
            read = [source for source in node.all_input_nodes if source in members]
            if len(node.all_input_nodes) != 1 or len(read) != 1 or len(read[0].users) != 1:
                continue
            if not _is_fresh(read[0], attributes):
                continue
            if node.op == "call_module" and isinstance(attributes[str(node.target)], _IN_PLACE_MODULES):
                attributes[str(node.target)].inplace = True
                allowed += 1
            elif is_functional_activation(node):
                node.kwargs = {**node.kwargs, "inplace": True}
                allowed += 1
    return allowed


def _is_fresh(node: fx.Node, attributes: Mapping[str, Any]) -> bool:
    if node.op == "call_module":
        return isinstance(attributes[str(node.target)], _FRESH_MODULES)
    return operator_name(node) in _FRESH_OPERATORS


def _readers(vertices: Sequence[Vertex]) -> dict[Vertex, list[Vertex]]:
    readers: dict[Vertex, list[Vertex]] = {vertex: [] for vertex in vertices}
    for vertex in vertices:
        for source in vertex.inputs:
            readers[source].append(vertex)
    return readers


def _regions(vertices: Sequence[Vertex], readers: Mapping[Vertex, list[Vertex]]) -> list[list[Vertex]]:
    """Split the vertices into groups that each hand on one tensor which can cross.

    A group grows from a vertex that cannot cross, by its descendants in order, until only the last one is
    read from outside. All ways out of the group lead through that one, so no way leads back in.
    """
    regions: list[list[Vertex]] = []
    grown: set[Vertex] = set()
    for start, vertex in enumerate(vertices):
        if vertex in grown:
            continue
        region = [vertex]
        if not _can_cross(vertex):
            region = _grow(vertices, start, readers)
            overlapping = [other for other in regions if not set(region).isdisjoint(other)]
            # Two groups that share a vertex share all from there on, and with it their way out.
            members = set(region).union(*overlapping)
            region = [member for member in vertices if member in members]
            regions = [other for other in regions if other not in overlapping]
        grown.update(region)
        regions.append(region)
    return regions


def _grow(vertices: Sequence[Vertex], start: int, readers: Mapping[Vertex, list[Vertex]]) -> list[Vertex]:
    region = [vertices[start]]
    members = set(region)
    for vertex in vertices[start + 1 :]:
        if members.isdisjoint(vertex.inputs):
            continue
        region.append(vertex)
        members.add(vertex)
        open_ends = [member for member in region if any(r not in members for r in readers[member])]
        if open_ends in ([vertex], []) and _can_cross(vertex):
            break
    return region


def _can_cross(vertex: Vertex) -> bool:
    return vertex.sighting is None or (
        vertex.sighting.is_tensor and _dtype(vertex.sighting.at_one) in DTYPE_BYTES
    )


def _joins(vertex: Vertex, readers: Mapping[Vertex, list[Vertex]], attributes: Mapping[str, Any]) -> bool:
    if len(vertex.inputs) != 1 or vertex.origin is None or not _can_cross(vertex):
        return False
    source = vertex.inputs[0]
    if source.sighting is None or not source.sighting.is_tensor or len(readers[source]) != 1:
        return False
    if vertex.sighting is None or vertex.sighting.at_one.nbytes > source.sighting.at_one.nbytes:
        return False
    if vertex.node.op == "call_module":
        return isinstance(attributes[str(vertex.node.target)], _CHEAP_MODULES)
    return operator_name(vertex.node) in _CHEAP_OPERATORS


def _leads(vertex: Vertex, readers: Mapping[Vertex, list[Vertex]], attributes: Mapping[str, Any]) -> bool:
    if len(vertex.inputs) != 1 or len(readers[vertex]) != 1 or not _can_cross(vertex):
        return False
    source = vertex.inputs[0]
    if vertex.sighting is None or source.sighting is None or not source.sighting.is_tensor:
        return False
    if vertex.sighting.at_one.nbytes < source.sighting.at_one.nbytes:
        return False
    if vertex.node.op == "call_module":
        return isinstance(attributes[str(vertex.node.target)], _LEADING_MODULES)
    return operator_name(vertex.node) in _LEADING_OPERATORS


def _spec(vertex: Vertex) -> TensorSpec | None:
    return (
        None
        if vertex.sighting is None
        else TensorSpec(_dtype(vertex.sighting.at_one), vertex.sighting.at_one.shape)
    )


def _dtype(seen: TensorSeen) -> str:
    return str(seen.dtype).removeprefix("torch.")


def _label(group: Sequence[Vertex], attributes: Mapping[str, Any]) -> str:
    """Name a unit of the network by the path of its first module with weights, else by its first node."""
    for vertex in group:
        target = str(vertex.node.target)
        if vertex.node.op == "call_module" and any(True for _ in attributes[target].parameters()):
            return target
    node = group[0].origin
    assert node is not None
    return str(node.target) if node.op == "call_module" else node.name


def _free_name(label: str, taken: set[str]) -> str:
    name = label
    suffix = 0
    while name in taken:
        suffix += 1
        name = f"{label}_{suffix}"
    taken.add(name)
    return name
