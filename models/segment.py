"""The piece of a model that one stage executes."""

from __future__ import annotations

import linecache
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import fx


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """Units as one module with named tensors in and named tensors out. Make one with `Model.segment`.

    `module` takes the output tensors of the units named in `inputs`, in that order, and returns a tuple of
    the output tensors of the units named in `outputs`. A segment that holds the source unit takes the
    frame's bytes, uint8[n], as an input of the source's name. The weights are shared with the model and all
    its segments.
    """

    units: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    module: fx.GraphModule


def make_module(graph: fx.Graph, attributes: Mapping[str, Any]) -> fx.GraphModule:
    """Compile `graph` to a module that shares the modules and tensors it names with `attributes`."""
    targets = {str(node.target) for node in graph.nodes if node.op in ("call_module", "get_attr")}
    module = fx.GraphModule({target: attributes[target] for target in targets}, graph).eval()
    # torch.fx keeps each generated source for tracebacks, for ever: 15 KiB a segment, in a daemon that
    # compiles new segments for months.
    source = module.forward.__code__.co_filename
    linecache.cache.pop(source, None)
    kept = getattr(getattr(fx.graph_module, "_loader", None), "eval_cache", {})
    kept.pop(source, None)
    return module
