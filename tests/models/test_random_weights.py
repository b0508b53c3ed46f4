"""Random weights depend on the seed only."""

from __future__ import annotations

import math

import torch
from torch import nn

from models.model import digest_weights
from models.random_weights import fill_random


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.PReLU(), nn.Flatten(), nn.Linear(32, 10))


def test_weights_are_the_same_bits_on_every_platform() -> None:
    """The digest of random:0 is written down here; a platform or a release that changes it breaks this test."""
    model = network()
    fill_random(model, 0)
    assert digest_weights(model) == "b8e618488a44f5199b0ef2a7a748619197f1496bbf24d1111a100f39129ad538"


def test_torchs_own_generator_has_no_say() -> None:
    """The same seed gives the same weights, whatever torch drew before; another seed gives others."""
    digests = []
    for torch_seed, seed in ((1, 7), (2, 7), (1, 8)):
        torch.manual_seed(torch_seed)
        model = network()
        fill_random(model, seed)
        digests.append(digest_weights(model))
    assert digests[0] == digests[1] != digests[2]


def test_values_are_he_uniform_and_biases_zero() -> None:
    """Weights fill ±sqrt(6 / fan-in) evenly; a bias that the constructor drew at random becomes 0."""
    layer = nn.Linear(50, 400)
    fill_random(layer, 3)
    bound = math.sqrt(6 / 50)
    assert 0.999 * bound < layer.weight.abs().max().item() <= bound
    assert abs(layer.weight.mean().item()) < 0.01 * bound
    assert abs(layer.weight.std().item() - bound / math.sqrt(3)) < 0.01 * bound
    assert not layer.bias.any()


def test_what_the_constructor_set_stays() -> None:
    """Norm weights, a PReLU's slope and other constants are part of the architecture, and stay."""
    model = network()
    model.register_parameter("scale", nn.Parameter(torch.full((8, 1, 1), 1e-6)))
    fill_random(model, 0)
    norm, slope = model[1], model[2]
    assert isinstance(norm, nn.BatchNorm2d)
    assert isinstance(slope, nn.PReLU)
    assert torch.equal(norm.weight, torch.ones(8))
    assert slope.weight.item() == 0.25
    assert torch.equal(model.get_parameter("scale"), torch.full((8, 1, 1), 1e-6))


def test_a_head_of_zeros_is_drawn() -> None:
    """A linear layer that its constructor zeroed (ViT's head) would make all answers equal, so it is drawn."""
    layer = nn.Linear(4, 4)
    nn.init.zeros_(layer.weight)
    fill_random(layer, 0)
    assert layer.weight.abs().min() > 0


def test_a_single_random_bias_does_not_stay() -> None:
    """A bias of one value is as random as a longer one, and becomes 0 too."""
    for seed in range(5):
        torch.manual_seed(seed)
        layer = nn.Linear(10, 1)
        fill_random(layer, 0)
        assert layer.bias.item() == 0
