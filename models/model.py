"""A loaded model: its graph, its identity, its segments."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import cached_property

import torch
from torch import nn

from common.errors import ConfigurationError, PlanError
from common.graph import ModelGraph, TensorSpec, Unit
from common.profile import ModelFingerprint
from models.preprocess import TOP, Preprocessing, image_size
from models.sample_frame import sample_frame
from models.segment import Segment
from models.trace import build_module, trace_model

PREPROCESSING_UNITS = ("frame", "decode", "resize", "normalize")
"""The units before the network, in order; the first is the source."""


class Model:
    """A network with its pre-processing and its answer, traced into units.

    `network` maps float32[N, 3, S, S] to logits [N, classes]; `weights_digest` tells its weights from others
    (see `digest_weights`). Raises `ModelError` where it cannot be traced or cut.
    """

    def __init__(
        self,
        *,
        name: str,
        weights: str,
        network: nn.Module,
        preprocessing: Preprocessing,
        labels: Iterable[str] | None,
        weights_digest: str,
        join: bool = True,
    ) -> None:
        self.name = name
        self.weights = weights
        self.preprocessing = preprocessing
        self._traced = trace_model(network, preprocessing, join=join)
        classes = self._traced.classes
        self.labels = tuple(f"class {i}" for i in range(classes)) if labels is None else tuple(labels)
        if len(self.labels) != classes:
            raise ConfigurationError(f"model {name!r} has {classes} classes, and {len(self.labels)} labels")
        self.graph: ModelGraph = self.graph_for(sample_frame())
        self.fingerprint = ModelFingerprint(
            architecture=self._traced.architecture, weights=weights_digest, graph=self.graph.fingerprint
        )

    def graph_for(self, frame: bytes) -> ModelGraph:
        """Return the graph with the output sizes that this encoded frame leads to.

        Raises `FrameError` for what is no image.
        """
        specs = self._specs(len(frame), image_size(frame))
        return ModelGraph(
            Unit(unit.name, unit.inputs, specs[unit.name].nbytes, specs[unit.name])
            for unit in self._traced.units
        )

    def segment(self, units: Iterable[str], outputs: Iterable[str]) -> Segment:
        """Build the segment of any set of `units` that hands on the tensors of `outputs`: some milliseconds.

        Its inputs are what its units read from others, in topological order. Raises as `check_segment` does.
        """
        members, wanted = frozenset(units), tuple(outputs)
        self.check_segment(members, wanted)
        chosen = [unit for unit in self._traced.units if unit.name in members]
        read = {name for unit in chosen for name in unit.inputs} - members
        source = {self.graph.source} & members
        inputs = tuple(name for name in self.graph.names if name in read | source)
        return Segment(
            units=tuple(unit.name for unit in chosen),
            inputs=inputs,
            outputs=wanted,
            module=build_module(self._traced, chosen, inputs, wanted),
        )

    def check_segment(self, units: Iterable[str], outputs: Iterable[str]) -> None:
        """Raise `PlanError` for units this model has not, and for an output that is not among `units`."""
        members, wanted = frozenset(units), tuple(outputs)
        for name in (*sorted(members), *wanted):
            if name not in self._by_name:
                raise PlanError(f"{name!r} is no unit of {self.name}")
        if missing := [name for name in wanted if name not in members]:
            raise PlanError(f"output {missing[0]!r} is not among the units of its segment")

    @cached_property
    def network_units(self) -> tuple[str, ...]:
        """The units between pre-processing and answer, in order: the network itself."""
        around = {*PREPROCESSING_UNITS, self.graph.sink}
        return tuple(name for name in self.graph.names if name not in around)

    @cached_property
    def _by_name(self) -> Mapping[str, object]:
        return {unit.name: unit for unit in self._traced.units}

    def _specs(self, frame_bytes: int, size: tuple[int, int]) -> dict[str, TensorSpec]:
        width, height = size
        crop = self.preprocessing.crop_size
        classes = self._traced.classes
        specs = {unit.name: unit.output for unit in self._traced.units}
        specs |= {
            "frame": TensorSpec("uint8", (frame_bytes,)),
            "decode": TensorSpec("uint8", (height, width, 3)),
            "resize": TensorSpec("uint8", (crop, crop, 3)),
            "normalize": TensorSpec("float32", (1, 3, crop, crop)),
            self._traced.units[-1].name: TensorSpec("float64", (1, min(TOP, classes), 2)),
        }
        return {name: spec for name, spec in specs.items() if spec is not None}


def digest_weights(network: nn.Module, *, buffers: bool = True) -> str:
    """Hash names, types, shapes and values of all parameters and, unless told not to, saved buffers.

    BatchNorm's counter of training batches is left out: it changes no answer, and not every file has it.
    """
    parameters = dict(network.named_parameters())
    tensors: dict[str, torch.Tensor] = dict(network.state_dict()) if buffers else dict(parameters)
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        if name.endswith("num_batches_tracked"):
            continue
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {list(values.shape)}\n".encode())
        digest.update(values.view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
