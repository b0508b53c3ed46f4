"""The piece of a model that one stage executes."""

from __future__ import annotations

from dataclasses import dataclass

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
