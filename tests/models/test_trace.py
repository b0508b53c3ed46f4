"""Networks that make tracing hard are cut without a change in what they compute, or refused with a reason."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import nn

from common.errors import ModelError
from models import trace
from models.executor import TorchExecutor
from models.model import Model
from models.preprocess import Preprocessing, as_frame
from models.random_weights import fill_random
from models.units import TracedUnit
from tests.models import networks
from tests.models.classifiers import assert_close, legal_cuts, logits_unit, small_frame

CUTTABLE = (
    networks.WritesWhatIsReadLater,
    networks.OverwritesWhatOthersHaveRead,
    networks.ActivatesAPiece,
    networks.ActivatesByTorchsOwn,
    networks.ActivatesByItsOwn,
    networks.SharesOneReLU,
    networks.ReadsTheBatchSizeLate,
    networks.TakesPieces,
    networks.GoesThroughComplexNumbers,
    networks.FlattensByView,
    networks.MeasuresATensorOtherwiseUnused,
)


def lively(make: type[nn.Module]) -> nn.Module:
    """Build a network whose BatchNorms do something."""
    network = make()
    fill_random(network, 0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.copy_(torch.linspace(-1, 1, 8))
            module.running_var.copy_(torch.linspace(0.5, 2, 8))
    return network.eval()


def model_of(network: nn.Module) -> Model:
    return Model(
        name=type(network).__name__,
        weights="random:0",
        network=network,
        preprocessing=Preprocessing(16, 16),
        labels=None,
        weights_digest="",
    )


def run(
    model: Model, units: list[str], outputs: list[str], tensors: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    return TorchExecutor().compile(model.segment(units, outputs)).run(tensors)


@pytest.mark.parametrize("make", CUTTABLE)
def test_every_cut_of_a_hard_network_gives_its_own_answer(make: type[nn.Module]) -> None:
    """In-place operators, shared modules, shape arithmetic, tuples, complex tensors: split equals the original."""
    network = lively(make)
    model = model_of(network)
    names, logits = list(model.graph.names), logits_unit(model)
    image = run(model, names[:4], ["normalize"], {"frame": as_frame(small_frame())})
    with torch.inference_mode():
        expected = network(image["normalize"])
    for members in legal_cuts(model.graph):
        if not members.issuperset(names[:4]) or logits in members:
            continue
        crossing = list(model.graph.crossing(members))
        head = [name for name in names[4:] if name in members]
        handed = run(model, head, [name for name in crossing if name in head], image) if head else {}
        tail = [name for name in names if name not in members]
        found = run(model, tail, [logits], {**image, **handed} if "normalize" in crossing else handed)[logits]
        assert_close(found, expected, f"{make.__name__} after {' + '.join(crossing)}")


@pytest.mark.parametrize("make", CUTTABLE)
def test_a_hard_network_takes_any_batch(make: type[nn.Module]) -> None:
    """Whatever a network does with its batch size, a batch of five equals five frames."""
    network = lively(make)
    model = model_of(network)
    images = torch.linspace(-4, 4, 5 * 3 * 16 * 16).sin().view(5, 3, 16, 16)
    units = [name for name in model.graph.names[4:] if name != "answer"]
    found = run(model, units, [logits_unit(model)], {"normalize": images})[logits_unit(model)]
    with torch.inference_mode():
        expected = torch.cat([network(image.unsqueeze(0)) for image in images])
    assert_close(found, expected, make.__name__)


@pytest.mark.parametrize("make", CUTTABLE)
def test_units_hand_on_what_nobody_overwrites(make: type[nn.Module]) -> None:
    """A unit's output is the same when all units have run as when it alone has."""
    model = model_of(lively(make))
    names = list(model.graph.names)
    tensors = {"frame": as_frame(small_frame())}
    for name in names[1:]:
        tensors |= run(model, [name], [name], tensors)
    for name, tensor in run(model, names, names, {"frame": tensors["frame"]}).items():
        assert_close(tensor.double(), tensors[name].double(), name)


def test_tracing_leaves_the_network_as_it_was() -> None:
    """Folding and out-of-place work happen on copies: the network still computes the same, in the same way."""
    network = lively(networks.SharesOneReLU)
    image = torch.linspace(-2, 2, 3 * 16 * 16).view(1, 3, 16, 16)
    with torch.inference_mode():
        before = network(image)
    names = [name for name, _ in network.named_modules()]
    model_of(network)
    with torch.inference_mode():
        assert torch.equal(network(image), before)
    assert [name for name, _ in network.named_modules()] == names
    relu = network.get_submodule("relu")
    assert isinstance(relu, nn.ReLU)
    assert relu.inplace


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (networks.OverwritesThroughAView, "differs from the original by"),
        (networks.DecidesByValues, "cannot be traced by torch.fx: .*must not decide by the values"),
        (networks.ReturnsADictionary, "output is not one tensor"),
        (networks.ReturnsAnImage, r"returns torch.float32 of shape \[1, 8, 16, 16\]"),
        (networks.NeedsTwoInputs, "does not run on an input"),
        (
            networks.LooksUpWhatIsNotThere,
            r"fails on an input of shape \[1, 3, 16, 16\]: IndexError: index out",
        ),
        (networks.CountsTheBatch, "neither constant nor in proportion to the batch"),
    ],
)
def test_a_network_that_cannot_be_cut_is_refused_with_the_reason(make: type[nn.Module], reason: str) -> None:
    """What would give wrong answers, or none, is refused when the model is loaded."""
    with pytest.raises(ModelError, match=reason):
        model_of(lively(make))


def test_a_traced_network_that_fails_is_the_models_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass that makes of a network what does not run says so in a line; it would end the daemon for ever."""
    monkeypatch.setattr(trace, "allow_inplace", _inplace_everywhere)
    with pytest.raises(ModelError, match=r"ActivatesByTorchsOwn, as it was traced, fails on .*: TypeError"):
        model_of(lively(networks.ActivatesByTorchsOwn))


def _inplace_everywhere(units: Sequence[TracedUnit], attributes: object) -> None:
    for node in (node for unit in units for node in unit.nodes if node.target is torch.relu):
        node.kwargs = {"inplace": True}


def test_a_machine_without_memory_is_not_the_models_fault() -> None:
    """There may be some at the next start, which the exit status of a `ModelError` would keep from coming."""
    network = lively(networks.SharesOneReLU)
    network.register_forward_pre_hook(_without_memory)
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        model_of(network)


def _without_memory(module: nn.Module, inputs: object) -> None:
    raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 64 bytes")
