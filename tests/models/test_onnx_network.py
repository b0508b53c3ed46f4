"""Pieces cut out of a network: any, and none that copies a weight."""

from __future__ import annotations

import pytest

from common.errors import ModelError
from models.model import Model
from models.onnx_export import load_or_export
from models.onnx_network import LEAST_WEIGHT_BYTES, OnnxNetwork, value_name
from models.zoo import load_model

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("squeezenet1_1", "random:0", crop_size=64)


@pytest.fixture(scope="module")
def network(model: Model, tmp_path_factory: pytest.TempPathFactory) -> OnnxNetwork:
    return load_or_export(model, tmp_path_factory.mktemp("onnx"))


def test_every_unit_of_the_network_can_be_cut_at(model: Model, network: OnnxNetwork) -> None:
    """Each unit's tensor is a value of the document, under the unit's name."""
    import onnx

    names = model.network_units
    assert model.graph.sink not in names
    assert not {"frame", "decode", "resize", "normalize"} & set(names)
    whole = onnx.load_model_from_string(network.extract(["normalize"], names).document)
    assert [value.name for value in whole.graph.output] == [value_name(name) for name in names]


def test_a_piece_names_its_weights_and_holds_none(model: Model, network: OnnxNetwork) -> None:
    """Two pieces have the same arrays, not copies; what is large lies outside, and only what the piece needs."""
    import onnx

    units = model.network_units
    whole = network.extract(["normalize"], units[-1:])
    last = network.extract([units[len(units) // 2]], units[-1:])
    kept = onnx.load_model_from_string(whole.document).graph.initializer
    outside = {tensor.name for tensor in kept if tensor.data_location == onnx.TensorProto.EXTERNAL}
    assert outside == set(whole.weights)
    inside = [tensor for tensor in kept if tensor.data_type == onnx.TensorProto.FLOAT]
    assert all(len(tensor.raw_data) < LEAST_WEIGHT_BYTES for tensor in inside)
    assert 0 < len(last.weights) < len(whole.weights)
    assert all(whole.weights[name] is weight for name, weight in last.weights.items())
    in_all = sum(tensor.nbytes for tensor in model.segment(units, units[-1:]).module.parameters())
    outside_bytes = sum(value.numpy().nbytes for value in whole.weights.values())
    assert outside_bytes > 0.95 * in_all > 20 * len(whole.document)


def test_a_unit_that_the_network_has_not_cannot_be_cut_at(model: Model, network: OnnxNetwork) -> None:
    """The model's error, in a line."""
    units = model.network_units
    for inputs, outputs in ((units[-1:], ["no unit"]), (["no unit"], units[-1:])):
        with pytest.raises(ModelError, match=r"^the ONNX network cannot be cut: .+$"):
            network.extract(inputs, outputs)
