"""Cutting changes nothing: the parts together are the whole."""

from __future__ import annotations

import io

import pytest
import torch
from PIL import Image

from common.graph import ModelGraph
from models.executor import TorchExecutor
from models.model import Model
from models.preprocess import as_frame
from models.torchvision_shim import torchvision
from tests.models.classifiers import (
    CROP_SIZES,
    assert_close,
    legal_cuts,
    load,
    logits_unit,
    original,
    small_frame,
)

EXECUTOR = TorchExecutor()


@pytest.fixture(scope="module", params=list(CROP_SIZES))
def model(request: pytest.FixtureRequest) -> Model:
    return load(request.param)


def run(
    model: Model, units: list[str], outputs: list[str], tensors: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    return EXECUTOR.compile(model.segment(units, outputs)).run(tensors)


def test_the_whole_equals_the_torch_module(model: Model) -> None:
    """From the file's bytes to the logits, the traced model computes what torchvision's own parts compute."""
    frame = small_frame()
    default = torchvision.models.get_model_weights(model.name).DEFAULT
    steps = default.transforms(
        crop_size=model.preprocessing.crop_size, resize_size=model.preprocessing.resize_size
    )
    with torch.inference_mode():
        expected = original(model.name)(steps(Image.open(io.BytesIO(frame)).convert("RGB")).unsqueeze(0))
    wanted = [logits_unit(model), model.graph.sink]
    found = run(model, list(model.graph.names), wanted, {"frame": as_frame(frame)})
    assert_close(found[wanted[0]], expected, model.name)
    best = torch.softmax(expected.double(), dim=-1).max()
    assert found[wanted[1]][0, 0, 1].item() == pytest.approx(best.item(), rel=1e-2)


@pytest.mark.timeout(300)
def test_split_equals_whole_at_every_legal_cut(model: Model) -> None:
    """Whatever legal cut is made, head and tail linked by the crossing tensors alone give the same logits."""
    names, logits = list(model.graph.names), logits_unit(model)
    frame = {"frame": as_frame(small_frame())}
    whole = run(model, names, [logits, model.graph.sink], frame)
    cuts = legal_cuts(model.graph)
    assert len(cuts) >= len(names)
    for members in cuts:
        crossing = list(model.graph.crossing(members))
        last = [name for name in (logits, model.graph.sink) if name in members]
        handed = run(model, [n for n in names if n in members], list(dict.fromkeys(crossing + last)), frame)
        split = {name: handed.pop(name) for name in last if name not in crossing}
        rest = [name for name in (logits, model.graph.sink) if name not in members]
        if rest:
            tail = [name for name in names if name not in members]
            split |= handed
            split |= run(model, tail, rest, {name: handed[name] for name in crossing})
        where = f"{model.name} after {' + '.join(crossing)}"
        assert_close(split[logits], whole[logits], where)
        assert_close(split[model.graph.sink][..., 1], whole[model.graph.sink][..., 1], where)


def test_a_batch_equals_single_frames(model: Model) -> None:
    """The network part computes three frames together as it computes each alone."""
    logits = logits_unit(model)
    network = [name for name in model.graph.names[4:] if name != model.graph.sink]
    assert model.graph.names[3] == "normalize"
    size = CROP_SIZES[model.name]
    images = torch.linspace(-3, 3, 3 * 3 * size * size).sin().view(3, 3, size, size)
    together = run(model, network, [logits], {"normalize": images})[logits]
    alone = [run(model, network, [logits], {"normalize": image.unsqueeze(0)})[logits] for image in images]
    assert_close(together, torch.cat(alone), model.name)
    answers = run(model, ["answer"], ["answer"], {logits: together})["answer"]
    assert answers.shape == (3, 5, 2)


def test_no_unit_overwrites_another_units_output(model: Model) -> None:
    """A tensor that a unit handed on is the same after everything behind it has run."""
    names = list(model.graph.names)
    tensors = {"frame": as_frame(small_frame())}
    for name in names[1:]:
        tensors |= run(model, [name], [name], tensors)
    at_the_end = run(model, names, names, {"frame": tensors["frame"]})
    for name in names[1:]:
        assert_close(at_the_end[name].double(), tensors[name].double(), f"{model.name}: {name}")


def test_output_sizes_are_what_the_graph_says(model: Model) -> None:
    """Each unit's output has the type and shape its graph announces for the frame."""
    frame = small_frame()
    graph: ModelGraph = model.graph_for(frame)
    outputs = run(model, list(graph.names), list(graph.names), {"frame": as_frame(frame)})
    for unit in graph.units:
        assert unit.output is not None
        found = outputs[unit.name]
        assert (str(found.dtype), tuple(found.shape)) == (f"torch.{unit.output.dtype}", unit.output.shape)
        assert unit.output_bytes == unit.output.nbytes == found.numel() * found.element_size()
