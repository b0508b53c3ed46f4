"""The tiny model, which computes for ever once there is a file that says so: a driver that has hung."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import torch
from torch import fx

from models.zoo import UserModel
from tests import tiny_model

FILE = "HANG_WHEN_THERE_IS"


@fx.wrap
def unless_hung(x: torch.Tensor) -> torch.Tensor:
    while Path(os.environ[FILE]).exists():
        time.sleep(0.1)
    return x


class Hanging(tiny_model.Tiny):
    def forward(self, x: torch.Tensor) -> Any:
        return super().forward(unless_hung(x))


def factory() -> UserModel:
    made = tiny_model.factory()
    return UserModel(Hanging(), made.preprocess, made.labels)
