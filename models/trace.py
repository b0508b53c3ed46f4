"""Turn a torch module into one graph from the frame's bytes to the answer, gathered into units.

    symbolic trace ─► observe (shapes) ─► purify ─► specialise ─► gather

The graph is torch.fx all the way: a segment is a piece of it, and executes with the weights it shares with
every other piece.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from common.errors import ModelError
from models import preprocess
from models.architecture import digest_architecture
from models.memory_errors import is_out_of_memory
from models.preprocess import Preprocessing
from models.purify import purify
from models.sample_frame import sample_image
from models.segment import make_module
from models.shapes import observe
from models.specialise import Specialiser, Vertex
from models.units import TracedUnit, allow_inplace, gather

TOLERANCE = 1e-3
"""Largest difference, in shares of the largest logit, between a network and what was made of it."""


@dataclass(frozen=True, slots=True, eq=False)
class TracedModel:
    """The units in execution order, the modules and tensors their nodes name, and what was traced (SHA-256)."""

    units: tuple[TracedUnit, ...]
    attributes: dict[str, Any]
    classes: int
    architecture: str


def trace_model(network: nn.Module, preprocessing: Preprocessing, *, join: bool = True) -> TracedModel:
    """Trace `network`, which maps float32[N, 3, S, S] to logits [N, classes], with its pre-processing.

    `join` says whether cheap operators join the unit they follow (`units.gather`).
    The network is put into eval mode, and otherwise left as it is; unfolded weights are shared with it.
    Raises `ModelError` for a network that cannot be traced or cut, or that the traced one does not reproduce.
    """
    network.eval()
    try:
        traced = fx.symbolic_trace(network)
    except Exception as error:  # the network's own code runs here, and may raise anything
        reason = str(error).partition("\n")[0]
        raise ModelError(
            f"{type(network).__name__} cannot be traced by torch.fx: {reason}. "
            "Its forward() must not decide by the values in tensors; mark such functions with torch.fx.wrap"
        ) from error
    size = preprocessing.crop_size
    sightings = observe(traced, (3, size, size))
    architecture = digest_architecture(traced, preprocessing, saved=network.state_dict().keys())
    purify(traced, sightings)
    attributes: dict[str, Any] = {}
    graph = fx.Graph()
    entry = _preprocessing_vertices(graph, preprocessing)
    specialiser = Specialiser(traced, sightings, graph, attributes)
    logits = specialiser.run(entry[-1])
    classes = _classes(logits)
    last = Vertex(graph.call_function(preprocess.answer, (logits.node,)), (), (logits,))
    units = gather(_needed([*entry, *specialiser.vertices, last]), attributes, join=join)
    allow_inplace(units, attributes)
    model = TracedModel(units, attributes, classes, architecture)
    _verify(network, model, size)
    return model


def build_module(
    traced: TracedModel, units: Sequence[TracedUnit], inputs: Sequence[str], outputs: Sequence[str]
) -> fx.GraphModule:
    """Build a module of `units` (in execution order) that shares the traced model's weights.

    It takes the output tensors of the units named in `inputs`, in that order, and returns a tuple of the
    output tensors of the units named in `outputs`.
    """
    by_name = {unit.name: unit for unit in traced.units}
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for name in inputs:
        last = by_name[name].last
        copies[last] = graph.placeholder(last.name)

    def copied(source: fx.Node) -> fx.Node:
        if source not in copies:  # only weights and constants have not been met before
            copies[source] = graph.node_copy(source)
        return copies[source]

    for unit in units:
        for node in unit.nodes:
            if node not in copies:
                copies[node] = graph.node_copy(node, copied)
    graph.output(tuple(copies[by_name[name].last] for name in outputs))
    return make_module(graph, traced.attributes)


def _preprocessing_vertices(graph: fx.Graph, steps: Preprocessing) -> list[Vertex]:
    frame = Vertex(graph.placeholder("frame"), (), ())
    decode = Vertex(graph.call_function(preprocess.decode, (frame.node,)), (), (frame,))
    sizes = (steps.resize_size, steps.crop_size, steps.interpolation)
    resize = Vertex(graph.call_function(preprocess.resize, (decode.node, *sizes)), (), (decode,))
    scales = (steps.mean, steps.std)
    normalize = Vertex(graph.call_function(preprocess.normalize, (resize.node, *scales)), (), (resize,))
    return [frame, decode, resize, normalize]


def _classes(logits: Vertex) -> int:
    seen = None if logits.sighting is None or not logits.sighting.is_tensor else logits.sighting.at_one
    if seen is None or len(seen.shape) != 2 or seen.shape[0] != 1 or not seen.dtype.is_floating_point:
        found = "another kind of value" if seen is None else f"{seen.dtype} of shape {list(seen.shape)}"
        raise ModelError(f"a classifier returns logits [batch, classes]; this network returns {found}")
    return seen.shape[1]


def _needed(vertices: list[Vertex]) -> list[Vertex]:
    """Leave out what the last vertex does not depend on (a tensor only its shape was read of)."""
    needed = {vertices[-1]}
    for vertex in reversed(vertices):
        if vertex in needed:
            needed.update(vertex.inputs)
    return [vertex for vertex in vertices if vertex in needed]


@torch.no_grad()
def _verify(network: nn.Module, model: TracedModel, size: int) -> None:
    """Compare the traced network with the original on one input.

    What no pass can know for sure, such as a view that a later in-place operator changes, shows here.
    """
    names = [unit.name for unit in model.units]
    module = build_module(model, model.units[4:-1], names[3:4], names[-2:-1])
    image = sample_image(size)
    expected = _tried(type(network).__name__, network, image)
    (found,) = _tried(f"{type(network).__name__}, as it was traced,", module, image)
    largest = expected.abs().max().clamp_min(1e-12)
    difference = ((expected - found).abs().max() / largest).item()
    if not difference <= TOLERANCE:
        raise ModelError(
            f"the traced network differs from the original by {difference:.2g} of the largest logit "
            f"(allowed: {TOLERANCE:g}); does it overwrite tensors through views, or draw random numbers?"
        )


def _tried(name: str, module: nn.Module, image: torch.Tensor) -> Any:
    """Run `module`. Until now only shapes went through it: what depends on values may fail here."""
    try:
        return module(image)
    except Exception as error:  # the network's own code runs here, and may raise anything
        if is_out_of_memory(error):
            raise  # the machine's, and perhaps not at the next start
        reason = str(error).partition("\n")[0]
        raise ModelError(
            f"{name} fails on an input of shape {list(image.shape)}: {type(error).__name__}: {reason}"
        ) from error
