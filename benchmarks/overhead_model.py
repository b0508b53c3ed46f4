"""A network that computes nothing, so that only the channel is left: its input of 0.8 MB is the crossing tensor."""

from __future__ import annotations

import torch
from torch import nn

from common.plan import Output, Stage
from models.preprocess import Preprocessing
from models.zoo import UserModel

NAME, WEIGHTS = "benchmarks.overhead_model:factory", "random:0"
SIDE = 258
"""Pixels: 3 × 258 × 258 float32 are 0.8 MB."""
CROSSING = "normalize"
STAGE = Stage("cloud", units=("getitem",), inputs=(CROSSING,), outputs=(Output("getitem", "edge"),))
"""Without the answer's softmax and top-k, so that the far end does by each channel what `sliced` does."""


def sliced(tensor: torch.Tensor) -> torch.Tensor:
    """Return three of a crossing tensor's numbers: the small answer."""
    return tensor[:, :, 0, 0]


class Slice(nn.Module):
    """`sliced` as a network."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return sliced(x)


def factory() -> UserModel:
    return UserModel(Slice(), Preprocessing(crop_size=SIDE, resize_size=SIDE), tuple("abc"))


def crossing_tensor() -> torch.Tensor:
    return torch.rand(1, 3, SIDE, SIDE)
