"""A user's own network, small enough to be loaded in a test: `tests.edge_daemon.commands.small_network:build`."""

from __future__ import annotations

from torch import nn


def build() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 7, stride=4),
        nn.ReLU(),
        nn.Conv2d(4, 8, 5, stride=4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 10),
    )
