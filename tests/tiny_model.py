"""A user's model that loads in milliseconds, for tests of what surrounds models."""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import torch
from PIL import Image
from torch import nn

from models.model import Model
from models.preprocess import Preprocessing
from models.zoo import UserModel, load_model


class Tiny(nn.Module):
    """Two convolutions in a row and a residual one: 16 × 16 pixels to seven classes."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.third = nn.Conv2d(8, 4, 3, stride=2, padding=1)
        self.relu = nn.ReLU()
        self.classify = nn.Linear(4 * 4 * 4, 7)

    def forward(self, x: torch.Tensor) -> Any:
        x = self.relu(self.first(x))
        # Weighted: a plain sum would hide that the tensors were swapped on their way.
        x = torch.add(self.relu(self.second(x)), x, alpha=0.5)
        x = self.relu(self.third(x))
        return self.classify(x.flatten(1))


def factory() -> UserModel:
    return UserModel(Tiny(), Preprocessing(crop_size=16, resize_size=18), tuple("abcdefg"))


@cache
def tiny_model(seed: int = 0) -> Model:
    return load_model("tests.tiny_model:factory", f"random:{seed}")


@cache
def jpeg(seed: int = 0, size: tuple[int, int] = (40, 30)) -> bytes:
    """A small JPEG; each seed gives another picture."""
    colour = (40 * seed % 256, 90 * seed % 256, 150)
    image = Image.new("RGB", size, colour)
    for x in range(size[0]):
        image.putpixel((x, x * (seed + 1) % size[1]), (255, 255, 7 * x % 256))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95)
    return buffer.getvalue()
