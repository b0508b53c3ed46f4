"""Facts about what tells models apart: settings and tensors that no file of weights holds, too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from common.profile import ModelFingerprint
from models.model import Model, digest_weights
from models.preprocess import Preprocessing

ROOT = Path(__file__).parent.parent.parent


class Attending(nn.Module):
    """Attention over an image's rows; its weights have the same names and shapes whatever its settings."""

    def __init__(self, heads: int = 2, **settings: object) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.attention = nn.MultiheadAttention(8, heads, batch_first=True, **settings)
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.mean(1)
        y: torch.Tensor = self.head(self.attention(rows, rows, rows)[0].mean(1))
        return y


class Encoding(nn.Module):
    """A transformer's layer: its settings, and those of the attention in it."""

    def __init__(self, heads: int = 2, **settings: object) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.TransformerEncoderLayer(8, heads, 16, 0.0, batch_first=True, **settings)  # type: ignore[arg-type]
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.head(self.layer(x.mean(1)).mean(1))
        return y


class Shifted(nn.Module):
    """A network with a tensor that no file of weights holds."""

    def __init__(self, offset: torch.Tensor, *, buffer: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        if buffer:
            self.register_buffer("offset", offset, persistent=False)
        else:
            self.offset = offset
        self.head = nn.Linear(3, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.head((x * self.offset).float().clamp(-9, 9).mean((2, 3)))
        return y


def fingerprint(network: nn.Module) -> ModelFingerprint:
    return Model(
        name="one",
        weights="default",
        network=network,
        preprocessing=Preprocessing(8, 8),
        labels=None,
        weights_digest=digest_weights(network),
    ).fingerprint


def table(**changes: float) -> torch.Tensor:
    """A table float32[1, 1, 8, 8], by places `atN` other in some values."""
    values = torch.linspace(0, 7, 64).sin()
    for place, value in changes.items():
        values[int(place.removeprefix("at"))] = value
    return values.view(1, 1, 8, 8)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Attending(), Attending(heads=4)),
        (Attending(), Attending(add_zero_attn=True)),
        (Encoding(), Encoding(norm_first=True)),
        (Encoding(), Encoding(heads=4)),
        (Encoding(activation=nn.functional.silu), Encoding(activation=nn.functional.elu)),
        (Shifted(table()), Shifted(table(at9=-0.8))),
        (Shifted(table(), buffer=True), Shifted(table(at9=-0.8), buffer=True)),
        (Shifted(table()), Shifted(table().flip(3))),
        (Shifted(table()), Shifted(2 * table())),
        (Shifted(table()), Shifted(table()[..., :1])),
        (Shifted(table()), Shifted(table().double())),
        (Shifted(table(at9=float("inf"))), Shifted(table(at10=float("inf")))),
        (Shifted(table() > 0), Shifted(table() > 0.1)),
    ],
    ids=[
        "heads", "zero attention", "order", "heads within", "activation", "values", "buffer", "order of values",
        "scale", "shape", "type", "infinities", "whole numbers",
    ],
)  # fmt: skip
def test_what_no_file_of_weights_tells_is_of_the_architecture(one: nn.Module, other: nn.Module) -> None:
    """Edge and cloud that differ in it would cut one network and compute another."""
    assert fingerprint(one).differences(fingerprint(other)) == ("architecture",)


def test_a_last_bit_is_no_other_architecture() -> None:
    """Two platforms' sines differ in it, and their machines work together."""
    large = torch.linspace(0, 700, 3 * 64).sin().view(3, 8, 8)
    assert fingerprint(Shifted(large)) == fingerprint(Shifted(torch.nextafter(large, torch.tensor(9.0))))


def test_weights_are_no_architecture() -> None:
    """What is saved is told by the weights' digest, and by that alone."""
    network = Shifted(nn.Parameter(table()))
    first = fingerprint(network)
    with torch.no_grad():
        network.offset.add_(1)
    assert first.differences(fingerprint(network)) == ("weights",)


def test_an_architecture_is_the_same_in_every_process() -> None:
    """Nothing of it is drawn anew at the start, such as the order of a set or an address."""
    networks = "Encoding(), Shifted(table())"
    script = "from tests.models.test_architecture import *\n"
    script += f"print(*(fingerprint(network).architecture for network in ({networks})))"
    environ = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=True, cwd=ROOT
    )
    here = [fingerprint(network).architecture for network in (Encoding(), Shifted(table()))]
    assert done.stdout.split() == here
