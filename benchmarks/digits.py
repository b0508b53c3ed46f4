"""A small residual network trained on scikit-learn's digits: real answers, without downloads.

What a codec does to the answers of a network with random weights says little; this one has something to lose.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn

from common.plan import Cut
from models import codecs, preprocess
from models.executor import CompiledSegment, TorchExecutor
from models.model import Model, digest_weights
from models.preprocess import Preprocessing, as_frame

SIDE = 48
PREPROCESSING = Preprocessing(crop_size=SIDE, resize_size=SIDE)
TRAINED_ON = 1_397
"""Of 1,797 digits; the other 400 test."""


class Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.first_norm(self.first(x)))
        y = self.second_norm(self.second(y))
        summed: torch.Tensor = self.relu(x + y)
        return summed


class ResidualNetwork(nn.Module):
    """48 × 48 pixels to ten classes by way of 16, 32 and 64 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.ReLU())
        self.one = Block(16)
        self.wider = nn.Sequential(nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU())
        self.two = Block(32)
        self.widest = nn.Sequential(nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classify = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.two(self.wider(self.one(self.stem(x))))
        logits: torch.Tensor = self.classify(self.pool(self.widest(x)).flatten(1))
        return logits


@dataclass(frozen=True)
class Digits:
    """The trained model, and what it was not trained on: encoded frames with their classes."""

    model: Model
    frames: tuple[bytes, ...]
    classes: tuple[int, ...]


@cache
def trained() -> Digits:
    """Train for a few seconds."""
    data = load_digits()
    torch.manual_seed(0)
    shuffled = torch.randperm(len(data.target))  # they are sorted by who wrote them
    frames = [_png(data.images[i]) for i in shuffled]
    inputs = torch.cat([_network_input(frame) for frame in frames])
    classes = torch.from_numpy(data.target)[shuffled]
    network = ResidualNetwork()
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    for epoch in range(10):
        optimiser.param_groups[0]["lr"] = 3e-3 * (1 - epoch / 10)
        for batch in torch.split(torch.randperm(TRAINED_ON), 64):
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(network(inputs[batch]), classes[batch])
            torch.autograd.backward(loss)
            optimiser.step()
    network.eval()
    model = Model(
        name="digits",
        weights="trained here",
        network=network,
        preprocessing=PREPROCESSING,
        labels=[str(digit) for digit in range(10)],
        weights_digest=digest_weights(network),
    )
    return Digits(model, tuple(frames[TRAINED_ON:]), tuple(int(c) for c in classes[TRAINED_ON:]))


def _png(image: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> bytes:
    grey = Image.fromarray((image * 255 / 16).astype(np.uint8))
    buffer = io.BytesIO()
    grey.resize((64, 64), Image.Resampling.BICUBIC).convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def _network_input(frame: bytes) -> torch.Tensor:
    decoded = preprocess.decode(as_frame(frame))
    image = preprocess.resize(decoded, SIDE, SIDE, PREPROCESSING.interpolation)
    return preprocess.normalize(image, PREPROCESSING.mean, PREPROCESSING.std)


@cache
def cuts() -> tuple[Cut, ...]:
    """Return the cuts where one tensor crosses: after the resized image, and after units of the network."""
    graph = trained().model.graph
    every = [Cut.of(graph, graph.names[:count]) for count in range(3, len(graph))]
    return tuple(cut for cut in every if len(cut.crossing) == 1 and cut.crossing != ("normalize",))


@cache
def _compiled(units: tuple[str, ...], output: str) -> CompiledSegment:
    return TorchExecutor(threads=1).compile(trained().model.segment(units, [output]))


@cache
def crossing(cut: Cut) -> tuple[torch.Tensor, ...]:
    """Return what crosses `cut`, for every frame that was not trained on."""
    (unit,) = cut.crossing
    head = _compiled(cut.edge_units, unit)
    source = trained().model.graph.source
    return tuple(head.run({source: as_frame(frame)})[unit] for frame in trained().frames)


@cache
def accuracy_and_bytes(cut: Cut, codec: str) -> tuple[float, float]:
    """Return the share of right classes with `codec` in between, and the mean bytes of a frame."""
    (unit,), sink = cut.crossing, trained().model.graph.sink
    tail = _compiled(cut.cloud_units, sink)
    right = total = 0
    for tensor, wanted in zip(crossing(cut), trained().classes, strict=True):
        encoded = codecs.encode(codec, tensor)
        answer = tail.run({unit: codecs.decode(encoded.entry(0), encoded.data)})[sink]
        right += int(answer[0, 0, 0]) == wanted
        total += encoded.nbytes
    return right / len(trained().classes), total / len(trained().classes)


def ends_in_relu(cut: Cut) -> bool:
    """Say whether what crosses are activations of an image, none of them negative."""
    first = crossing(cut)[0]
    return first.dim() == 4 and float(first.min()) == 0.0
