"""A network as one ONNX document. Every segment is cut from it in a millisecond, since weights stay where they are.

    document ──► graph without weights ──► extract ──► piece, some kB ──┐
            └──► weights, one array each, once in memory ───────────────┴──► session

Protobuf copies and writes with the interpreter's lock held: with the weights inside, cutting a piece out of VGG16
stopped every thread of the process for more than a second.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common.errors import ModelError

BATCH = "batch"
"""The name of a leading dimension that is the number of frames."""


LEAST_WEIGHT_BYTES = 1024
"""Smaller ones stay in the document: sizes and indices among them, which ONNX must know to infer shapes."""


def value_name(unit: str) -> str:
    """The name of a unit's tensor in ONNX: one that the exporter does not give, as it does `add_1`."""
    return f"unit:{unit}"


@dataclass(frozen=True, slots=True)
class OnnxPiece:
    """An ONNX document whose large weights lie outside it."""

    document: bytes
    weights: Mapping[str, Any]
    """Those that the document names, as onnxruntime's `OrtValue`: a session may read them as long as it lives."""


class OnnxNetwork:
    """All units between pre-processing and answer, as an ONNX graph with a value for each unit (`value_name`)."""

    def __init__(self, document: Any) -> None:
        """Take `document` (an onnx `ModelProto`) apart. Raises `ModelError` for one that cannot be read."""
        import onnx.utils

        try:
            document, self._weights = _without_weights(document)
            self._extractor = onnx.utils.Extractor(document)
        except Exception as error:
            raise ModelError(f"the ONNX network cannot be read: {type(error).__name__}: {error}") from error
        self._turn = threading.Lock()
        self.names = {output.name for output in document.graph.output}
        entries = {value.name for value in document.graph.input}
        self._batch_sizes = {
            node.output[0]
            for node in document.graph.node
            if node.op_type == "Shape" and node.input[0] in entries and _is_first_dimension(node)
        }

    def extract(self, inputs: Sequence[str], outputs: Sequence[str]) -> OnnxPiece:
        """Return what leads from the tensors of units `inputs` to those of `outputs`.

        Raises `ModelError` for units that it does not have.
        """
        names = ([value_name(unit) for unit in units] for units in (inputs, outputs))
        try:
            with self._turn:  # nothing says that two may be cut at a time
                piece = self._extractor.extract_model(*names)
        except Exception as error:  # ValueError, AssertionError, protobuf's own
            raise ModelError(f"the ONNX network cannot be cut: {str(error).partition(chr(10))[0]}") from error
        # A split's node makes all its parts: one that is wanted, and one that is handed in.
        given = {value.name for value in piece.graph.input}
        for node in piece.graph.node:
            for i, output in enumerate(node.output):
                if output in given:
                    node.output[i] = f"again:{output}"
        self._size_by_inputs(piece)
        needed = (tensor.name for tensor in piece.graph.initializer if tensor.name in self._weights)
        return OnnxPiece(piece.SerializeToString(), {name: self._weights[name] for name in needed})

    def _size_by_inputs(self, piece: Any) -> None:
        """Have `piece` read the batch size off an input of its own, where the whole reads it off the image.

        Where no input tells it, it is one: such a piece computes one frame at a time.
        """
        import onnx.helper

        given = [value.name for value in piece.graph.input]
        telling = [value.name for value in piece.graph.input if _has_any_batch(value)]
        for node in piece.graph.node:
            if node.output[0] not in self._batch_sizes or node.input[0] in given:
                continue
            if telling:
                node.input[0] = telling[0]
            else:
                node.CopyFrom(onnx.helper.make_node("Constant", [], [node.output[0]], value_ints=[1]))


def _is_first_dimension(node: Any) -> bool:
    return {attribute.name: attribute.i for attribute in node.attribute} == {"start": 0, "end": 1}


def _has_any_batch(value: Any) -> bool:
    dimensions = value.type.tensor_type.shape.dim
    return bool(dimensions) and dimensions[0].dim_param == BATCH


def _without_weights(document: Any) -> tuple[Any, dict[str, Any]]:
    """Return `document` as one that only names its large weights, and these. `document` itself is used up."""
    import onnx
    from onnx import external_data_helper, numpy_helper

    from models.onnxruntime_silent import onnxruntime

    weights = {}
    for tensor in document.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.raw_data) >= LEAST_WEIGHT_BYTES:
            array = numpy_helper.to_array(tensor)
            # The value is the array itself, no copy. Nobody looks for the file: sessions are handed the value.
            weights[tensor.name] = onnxruntime.OrtValue.ortvalue_from_numpy(array)
            external_data_helper.set_external_data(tensor, location="beside")
            tensor.ClearField("raw_data")
    # Read anew: protobuf gives the memory of a field back with its document only.
    return onnx.load_model_from_string(document.SerializeToString()), weights
