"""A model's segments, sizes and identity."""

from __future__ import annotations

import gc
import linecache

import pytest
import torch
from torch import nn

from common.errors import FrameError, PlanError
from models.executor import TorchExecutor
from models.model import Model, digest_weights
from models.preprocess import as_frame
from models.zoo import load_model
from tests.models.classifiers import small_frame


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("squeezenet1_1", "random:0", crop_size=64)


def test_a_segment_names_what_it_reads_and_hands_on(model: Model) -> None:
    """Inputs are the foreign outputs its units read, in topological order, however the units are listed."""
    segment = model.segment(
        ["features.3.expand3x3", "cat", "features.3.squeeze"], ["cat", "features.3.squeeze"]
    )
    assert segment.units == ("features.3.squeeze", "features.3.expand3x3", "cat")
    assert segment.inputs == ("features.2", "features.3.expand1x1")
    assert segment.outputs == ("cat", "features.3.squeeze")


def test_a_segment_of_units_that_are_not_neighbours_works(model: Model) -> None:
    """Any set of units is a segment: stages of a chain need not be closed."""
    segment = model.segment(["features.0", "features.3.squeeze"], ["features.0", "features.3.squeeze"])
    assert segment.inputs == ("normalize", "features.2")
    size = model.graph["features.2"].output
    assert size is not None
    outputs = (
        TorchExecutor()
        .compile(segment)
        .run({"normalize": torch.zeros(1, 3, 64, 64), "features.2": torch.zeros(size.shape)})
    )
    assert list(outputs) == ["features.0", "features.3.squeeze"]


def test_the_source_alone_hands_on_the_file(model: Model) -> None:
    """The head of the cloud-only cut takes the frame's bytes and returns them unchanged."""
    segment = model.segment(["frame"], ["frame"])
    assert (segment.inputs, segment.outputs) == (("frame",), ("frame",))
    frame = as_frame(small_frame())
    assert torch.equal(TorchExecutor().compile(segment).run({"frame": frame})["frame"], frame)


def test_an_output_may_also_be_read_inside(model: Model) -> None:
    """A tensor that crosses and is used in the head as well comes out, and the rest goes on with it."""
    segment = model.segment(["frame", "decode", "resize"], ["frame", "decode", "resize"])
    frame = as_frame(small_frame())
    outputs = TorchExecutor().compile(segment).run({"frame": frame})
    assert [tuple(t.shape) for t in outputs.values()] == [(frame.numel(),), (90, 120, 3), (64, 64, 3)]


def test_segments_share_the_weights(model: Model) -> None:
    """However many segments hold a unit, its weights are in memory once."""
    pointers = set()
    for units in (["features.0"], list(model.graph.names)):
        (conv,) = [
            module
            for module in model.segment(units, [units[-1]]).module.modules()
            if isinstance(module, nn.Conv2d) and module.in_channels == 3
        ]
        pointers.add(conv.weight.data_ptr())
    assert len(pointers) == 1


def test_segments_leave_nothing_behind(model: Model) -> None:
    """torch.fx keeps the source of all it compiles; of segments, nothing stays."""
    model.segment(model.graph.names, ["answer"])
    gc.collect()
    before = len(torch.fx.graph_module._loader.eval_cache), len(linecache.cache)
    for _ in range(3):
        model.segment(model.graph.names, ["answer"])
    assert (len(torch.fx.graph_module._loader.eval_cache), len(linecache.cache)) == before


@pytest.mark.parametrize(
    ("units", "outputs", "reason"),
    [
        (["decode", "elsewhere"], ["decode"], "'elsewhere' is no unit of squeezenet1_1"),
        (["decode"], ["nothing"], "'nothing' is no unit"),
        (["decode"], ["resize"], "'resize' is not among the units"),
    ],
)
def test_a_segment_that_cannot_be_is_refused(
    model: Model, units: list[str], outputs: list[str], reason: str
) -> None:
    """Units and outputs that do not exist or do not belong together are a plan's fault."""
    with pytest.raises(PlanError, match=reason):
        model.segment(units, outputs)


def test_the_graph_of_a_frame_has_its_sizes(model: Model) -> None:
    """A frame's own bytes and pixels count; the network's sizes, and the graph's identity, are the model's."""
    frame = small_frame(100, 50)
    graph = model.graph_for(frame)
    assert graph["frame"].output_bytes == len(frame)
    assert graph["decode"].output_bytes == 100 * 50 * 3
    assert graph["answer"].output_bytes == 5 * 2 * 8
    assert graph["features.0"] == model.graph["features.0"]
    assert graph.fingerprint == model.graph.fingerprint == model.fingerprint.graph
    assert model.graph["decode"].output_bytes == 1280 * 720 * 3


def test_the_graph_of_a_bad_frame_is_refused(model: Model) -> None:
    """What is no image has no sizes."""
    with pytest.raises(FrameError, match="not a readable image"):
        model.graph_for(b"no image")


def test_a_digest_tells_weights_apart() -> None:
    """Any value, name or shape counts; BatchNorm's batch counter and buffers that were left out do not."""
    network = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    norm = network[1]
    assert isinstance(norm, nn.BatchNorm1d)
    assert norm.num_batches_tracked is not None
    assert norm.running_mean is not None
    first = digest_weights(network)
    norm.num_batches_tracked.add_(5)
    assert digest_weights(network) == first
    without = digest_weights(network, buffers=False)
    norm.running_mean.add_(1)
    assert digest_weights(network) != first
    assert digest_weights(network, buffers=False) == without
    with torch.no_grad():
        norm.weight[0] += 1e-6
    assert digest_weights(network, buffers=False) != without
