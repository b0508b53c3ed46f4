"""Rewrite a traced network so that its nodes are what a planner may place: tensors made from the frame.

A traced network also holds nodes that are no work on the frame, and would tie distant parts together:

- *shape arithmetic* (ViT reads the batch size of its first tensor hundreds of operators later): what is the
  same at every batch size becomes a literal; what is a multiple of the batch is computed anew, from the size
  of the tensor the reader reads anyway;
- *constants* (Swin's relative position bias): evaluated once, kept as a tensor beside the weights;
- *constants as long as the batch* (ViT's expanded class token): computed by each reader for itself;
- *views that yield several tensors* (ShuffleNet's chunk): taken by each reader for itself.

What remains are the vertices: one operator each, with the helper nodes that belong to it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import torch
from torch import fx

from common.errors import ModelError
from models.shapes import Sighting, Sightings

_TUPLE_VIEWS = frozenset(
    {"chunk", "dsplit", "hsplit", "split", "split_with_sizes", "tensor_split", "unbind", "vsplit"}
)


@dataclass(frozen=True, slots=True, eq=False)
class Vertex:
    """One operator on data of the frame: its node, the helper nodes before it, the vertices it reads.

    `origin` is the node it was made from, `sighting` what it yields; both are none outside the network.
    """

    node: fx.Node
    helpers: tuple[fx.Node, ...]
    inputs: tuple[Vertex, ...]
    origin: fx.Node | None = None
    sighting: Sighting | None = None


class _Kind(Enum):
    NUMBER = "no tensor at all: sizes, flags, types"
    CONSTANT = "tensors made without the frame's data"
    DATA = "tensors made from the frame's data"


@dataclass(slots=True)
class Specialiser:
    """Copies the vertices of `traced` into `graph`, which already yields the network's input `entry`.

    `attributes` collects the modules and tensors that the copied nodes name by their targets.
    """

    traced: fx.GraphModule
    sightings: Sightings
    graph: fx.Graph
    attributes: dict[str, Any]
    vertices: list[Vertex] = field(default_factory=list)
    _kinds: dict[fx.Node, _Kind] = field(default_factory=dict)
    _varying: set[fx.Node] = field(default_factory=set)
    _made: dict[fx.Node, Vertex] = field(default_factory=dict)
    _values: dict[fx.Node, Any] = field(default_factory=dict)
    _helpers: list[fx.Node] = field(default_factory=list)

    def run(self, entry: Vertex) -> Vertex:
        """Copy everything and return the vertex of the network's output.

        Raises `ModelError` for a network whose output is not one tensor made from its one input, or whose
        sizes depend on the batch other than in proportion.
        """
        nodes = list(self.traced.graph.nodes)
        inputs = [node for node in nodes if node.op == "placeholder"]
        for unused in inputs[1:]:
            if unused.users:
                raise ModelError(f"the network needs {len(inputs)} inputs; Cleave gives it one, the image")
        self._made[inputs[0]] = entry
        for node in nodes:
            self._classify(node)
            if node.op == "output":
                break
            if node.op != "placeholder" and self._kinds[node] is _Kind.DATA and not self._is_inlined(node):
                self._add_vertex(node)
        result = nodes[-1].args[0]
        if not isinstance(result, fx.Node) or result not in self._made:
            raise ModelError("the network's output is not one tensor computed from the image")
        return self._made[result]

    def _classify(self, node: fx.Node) -> None:
        kinds = {self._kinds[source] for source in node.all_input_nodes}
        if not self.sightings[node].holds_tensor:
            kind = _Kind.NUMBER
        elif node.op == "placeholder" or _Kind.DATA in kinds:
            kind = _Kind.DATA
        else:
            kind = _Kind.CONSTANT
            if any(self._grows(source) for source in node.all_input_nodes):
                self._varying.add(node)
        self._kinds[node] = kind

    def _grows(self, node: fx.Node) -> bool:
        """Say whether a number, or a constant, depends on the batch size."""
        if self._kinds[node] is _Kind.NUMBER:
            sighting = self.sightings[node]
            return bool(sighting.at_two != sighting.at_three)
        return node in self._varying

    def _is_inlined(self, node: fx.Node) -> bool:
        if self.sightings[node].is_tensor:
            return False
        readers_take_one = all(user.target is operator.getitem for user in node.users)
        return readers_take_one and operator_name(node) in _TUPLE_VIEWS

    def _add_vertex(self, node: fx.Node) -> None:
        self._helpers = []
        copied = self._copy(node, host=node)
        helpers = tuple(self._helpers)
        read = (source for part in (*helpers, copied) for source in part.all_input_nodes)
        by_node = {vertex.node: vertex for vertex in self._made.values()}
        inputs = tuple(dict.fromkeys(by_node[source] for source in read if source in by_node))
        vertex = Vertex(copied, helpers, inputs, node, self.sightings[node])
        self._made[node] = vertex
        self.vertices.append(vertex)

    def _copy(self, node: fx.Node, host: fx.Node) -> fx.Node:
        """Copy `node`; numbers that grow with the batch are taken from what `host` reads."""

        def resolve(source: fx.Node) -> Any:
            return self._resolve(source, host)

        args, kwargs = fx.map_arg(node.args, resolve), fx.map_arg(node.kwargs, resolve)
        if node.op in ("call_module", "get_attr"):
            self._attribute(node)
        return self.graph.create_node(node.op, node.target, args, kwargs, name=node.name)

    def _resolve(self, source: fx.Node, host: fx.Node) -> Any:
        kind = self._kinds[source]
        if kind is _Kind.NUMBER:
            sighting = self.sightings[source]
            return self._number(sighting.at_two, sighting.at_three, source, host)
        if kind is _Kind.CONSTANT and source not in self._varying:
            return self._constant(source)
        if source in self._made:
            return self._made[source].node
        copied = self._copy(source, host=source if kind is _Kind.DATA else host)
        self._helpers.append(copied)
        return copied

    def _number(self, two: Any, three: Any, source: fx.Node, host: fx.Node) -> Any:
        """Return a literal, or a node that computes the number from the batch at hand."""
        if isinstance(two, tuple | list):
            return tuple(self._number(a, b, source, host) for a, b in zip(two, three, strict=True))
        if isinstance(two, slice):
            parts = ((two.start, three.start), (two.stop, three.stop), (two.step, three.step))
            return slice(*(self._number(a, b, source, host) for a, b in parts))
        if isinstance(two, torch.device):
            tensor, _ = self._read_tensor(host, lambda sighting: True)
            return self._helper(getattr, (tensor, "device"))
        if two == three:
            return two
        if not isinstance(two, int) or 3 * two != 2 * three:
            raise ModelError(
                f"{source.name!r} is {two} at batch 2 and {three} at batch 3: neither constant nor in "
                "proportion to the batch; such a network cannot be cut"
            )
        tensor, sighting = self._read_tensor(host, lambda sighting: sighting.batch_axis() is not None)
        axis, per_frame = sighting.batch_axis() or (0, 1)
        size = self.graph.call_method("size", (tensor, axis))
        self._helpers.append(size)
        wanted = two // 2
        if wanted % per_frame:
            return self._helper(operator.floordiv, (self._helper(operator.mul, (size, wanted)), per_frame))
        return size if wanted == per_frame else self._helper(operator.mul, (size, wanted // per_frame))

    def _helper(self, function: Callable[..., Any], args: tuple[Any, ...]) -> fx.Node:
        self._helpers.append(self.graph.call_function(function, args))
        return self._helpers[-1]

    def _read_tensor(self, host: fx.Node, fits: Callable[[Sighting], bool]) -> tuple[fx.Node, Sighting]:
        """Return the first tensor of the frame's data that `host` reads and that fits."""
        for source in host.all_input_nodes:
            if self._kinds[source] is not _Kind.DATA:
                continue
            sighting = self.sightings[source]
            if source not in self._made:  # a view that yields several tensors: look at what it views
                return self._read_tensor(source, fits)
            if sighting.is_tensor and fits(sighting):
                return self._made[source].node, sighting
        raise ModelError(f"{host.name!r} needs the batch size, and reads no tensor that tells it")

    def _constant(self, node: fx.Node) -> Any:
        if node.op == "get_attr":
            self._attribute(node)
            return self.graph.create_node("get_attr", node.target)
        return self._constant_nodes(self._value(node), f"constant_{node.name}")

    def _constant_nodes(self, value: Any, target: str) -> Any:
        if isinstance(value, tuple | list):
            return tuple(self._constant_nodes(item, f"{target}_{i}") for i, item in enumerate(value))
        if not isinstance(value, torch.Tensor):
            return value
        self.attributes[target] = value
        return self.graph.create_node("get_attr", target)

    @torch.no_grad()
    def _value(self, node: fx.Node) -> Any:
        """Evaluate a node that depends on weights and literals only."""
        if node not in self._values:
            self._values[node] = self._evaluate(node)
        return self._values[node]

    def _evaluate(self, node: fx.Node) -> Any:
        if self._kinds[node] is _Kind.NUMBER:
            value = self.sightings[node].at_two
            return torch.device("cpu") if isinstance(value, torch.device) else value
        args, kwargs = fx.map_arg(node.args, self._value), fx.map_arg(node.kwargs, self._value)
        if node.op == "get_attr":
            return self._attribute(node)
        if node.op == "call_module":
            return self.traced.get_submodule(str(node.target))(*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        return node.target(*args, **kwargs)  # type: ignore[operator]

    def _attribute(self, node: fx.Node) -> Any:
        target = str(node.target)
        if target not in self.attributes:
            path, _, name = target.rpartition(".")
            self.attributes[target] = getattr(self.traced.get_submodule(path), name)
        return self.attributes[target]


def operator_name(node: fx.Node) -> str:
    """Name a function or method node's operator without its namespace; of a module node, give the target."""
    return node.target if isinstance(node.target, str) else str(getattr(node.target, "__name__", ""))
