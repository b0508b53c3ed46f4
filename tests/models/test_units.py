"""Units are what is worth placing: no less, and no more."""

from __future__ import annotations

import pytest
import torch
from torch import fx, nn

from models.model import Model
from models.preprocess import Preprocessing
from models.trace import trace_model
from models.zoo import load_model
from tests.models.classifiers import legal_cuts


class Small(nn.Module):
    """Operators around one convolution; `forward` is what a test sets."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.act = nn.ReLU()
        self.after = nn.Conv2d(4, 4, 1)
        self.head = nn.Linear(4, 3)


class Chain(Small):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act(self.norm(self.conv(x))) * 2 + 1
        y: torch.Tensor = self.head(torch.flatten(nn.functional.adaptive_avg_pool2d(x, 1), 1))
        return y


class Growing(Small):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        x = x.expand(-1, -1, -1, -1) + torch.zeros(2, 1, 1, 1, 1)
        y: torch.Tensor = self.head(x.sum((0, 3, 4)))
        return y


class Branching(Small):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        pooled = nn.functional.avg_pool2d(x, 3, 1, 1)
        y: torch.Tensor = self.head((self.act(x) + self.after(pooled)).mean((2, 3)))
        return y


def network_units(network: nn.Module) -> dict[str, tuple[str, ...]]:
    units = trace_model(network, Preprocessing(8, 8)).units
    return {unit.name: tuple(node.name for node in unit.nodes) for unit in units[4:]}


def test_followers_join_the_operator_they_follow() -> None:
    """BatchNorm is folded; activation, constants, views and pooling to less ride along; the logits stay apart."""
    assert network_units(Chain()) == {
        "conv": ("conv", "act", "mul", "add", "adaptive_avg_pool2d", "flatten"),
        "head": ("head",),
        "answer": ("answer",),
    }


def test_a_follower_that_makes_more_bytes_stays_apart() -> None:
    """Before an operator that enlarges its tensor there is a cut worth making."""
    units = network_units(Growing())
    assert units["conv"] == ("conv", "expand")
    assert units["add"] == ("add",)


def test_a_follower_of_a_shared_tensor_stays_apart_and_a_leading_pool_joins_its_reader() -> None:
    """What others read too must be handed on as it is; a pool that saves no bytes goes with what it feeds."""
    units = network_units(Branching())
    assert units["conv"] == ("conv",)
    assert units["act"] == ("act",)
    assert units["after"] == ("avg_pool2d", "after")


def test_activations_work_in_place_where_nobody_can_tell() -> None:
    """Right after the convolution of their own unit, and nowhere else."""
    chain, branching = (trace_model(make(), Preprocessing(8, 8)) for make in (Chain, Branching))
    assert chain.attributes["act"].inplace is True
    assert branching.attributes["act"].inplace is False


@pytest.mark.parametrize(
    ("name", "units", "cuts"),
    [("resnet18", 35, 41), ("squeezenet1_1", 42, 50), ("mobilenet_v2", 68, 68), ("googlenet", 89, 507)],
)
def test_the_number_of_units_and_cuts_is_known(name: str, units: int, cuts: int) -> None:
    """At their own input size, these classifiers have so many units and legal cuts, pre-processing included."""
    graph = load_model(name, "random:0").graph
    assert (len(graph), len(legal_cuts(graph))) == (units, cuts)
    assert graph.names[:4] == ("frame", "decode", "resize", "normalize")
    assert graph.names[-1] == "answer"


def test_shape_arithmetic_ties_nothing_together() -> None:
    """ViT reads its batch size at the start and uses it far behind: its cuts still are those of a chain."""
    graph = load_model("vit_b_16", "random:0", crop_size=64).graph
    assert max(len(graph.crossing(members)) for members in legal_cuts(graph)) == 2
    assert len(legal_cuts(graph)) == len(graph)


def test_constants_are_no_units() -> None:
    """Swin's relative position biases are computed once, and its graph is a chain of blocks."""
    model = load_model("swin_t", "random:0", crop_size=64)
    assert not [name for name in model.graph.names if "bias" in name]
    segment = model.segment(model.graph.names, ["answer"])
    constants = [node for node in segment.module.graph.nodes if "constant" in str(node.target)]
    assert len(constants) == 12
    assert all(node.op == "get_attr" for node in constants)


def test_unit_names_that_pre_processing_uses_are_not_taken_twice() -> None:
    """A network may call its own modules `normalize` or `answer`."""

    class Clashing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.normalize = nn.Conv2d(3, 4, 1)
            self.answer = nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.answer(self.normalize(x).mean((2, 3)))
            return y

    model = Model(
        name="clashing",
        weights="default",
        network=Clashing(),
        preprocessing=Preprocessing(8, 8),
        labels=None,
        weights_digest="",
    )
    assert model.graph.names[:5] == ("frame", "decode", "resize", "normalize", "normalize_1")
    assert model.graph.sink == "answer"
    assert isinstance(model.segment(model.graph.names, ["answer"]).module, fx.GraphModule)


def test_without_joining_every_operator_is_a_unit() -> None:
    """The graph is finer, its ends are the same, and the network still gives the same answer."""
    joined = load_model("resnet18", "random:0", crop_size=64)
    fine = load_model("resnet18", "random:0", crop_size=64, join=False)
    assert len(fine.graph) > len(joined.graph)
    assert (fine.graph.source, fine.graph.sink) == (joined.graph.source, joined.graph.sink)
    assert fine.fingerprint != joined.fingerprint
