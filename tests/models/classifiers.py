"""The fifteen classifiers, at input sizes that keep tests quick, and what tests ask of them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import lru_cache

import torch
from PIL import Image
from torch import nn

from common.graph import ModelGraph
from models.model import Model
from models.random_weights import fill_random
from models.sample_frame import sample_frame
from models.torchvision_shim import torchvision
from models.zoo import load_model

CROP_SIZES: Mapping[str, int] = {
    "alexnet": 64,
    "vgg16": 64,
    "resnet18": 64,
    "resnet50": 64,
    "inception_v3": 75,
    "mobilenet_v2": 64,
    "googlenet": 64,
    "mobilenet_v3_large": 64,
    "efficientnet_b0": 64,
    "densenet121": 64,
    "vit_b_16": 64,
    "convnext_tiny": 64,
    "swin_t": 64,
    "squeezenet1_1": 64,
    "shufflenet_v2_x1_0": 64,
}
TOLERANCE = 1e-4
"""Of the largest logit: folding and memory layouts change the order of sums, not more."""


@lru_cache(maxsize=1)
def load(name: str) -> Model:
    """Load a classifier with random:0 at its test size. The last one is kept."""
    return load_model(name, "random:0", crop_size=CROP_SIZES[name])


def original(name: str) -> nn.Module:
    """Build the untraced torchvision network with the same weights, by torchvision's own constructor."""
    special: dict[str, dict[str, object]] = {
        "googlenet": {"transform_input": True, "aux_logits": False, "init_weights": False},
        "inception_v3": {"transform_input": True, "aux_logits": False, "init_weights": False},
        "vit_b_16": {"image_size": CROP_SIZES["vit_b_16"]},
    }
    network = torchvision.models.get_model(name, weights=None, **special.get(name, {}))
    assert isinstance(network, nn.Module)
    fill_random(network, 0)
    return network.eval()


def small_frame(width: int = 120, height: int = 90, seed: int = 0) -> bytes:
    """Return a small JPEG; different seeds give different pictures."""
    big = Image.open(io.BytesIO(sample_frame(640, 480)))
    left, top = 97 * seed % 400, 61 * seed % 300
    buffer = io.BytesIO()
    big.crop((left, top, left + 240, top + 180)).rotate(90 * seed).resize((width, height)).save(
        buffer, "JPEG"
    )
    return buffer.getvalue()


def logits_unit(model: Model) -> str:
    """Name the unit whose output the answer is made of."""
    (name,) = model.graph[model.graph.sink].inputs
    return name


def legal_cuts(graph: ModelGraph) -> list[frozenset[str]]:
    """Enumerate all closed sets with the source, the plain way: add one unit at a time."""
    found = {frozenset({graph.source})}
    waiting = list(found)
    while waiting:
        members = waiting.pop()
        for unit in graph.units:
            if unit.name not in members and members.issuperset(unit.inputs):
                larger = members | {unit.name}
                if larger not in found:
                    found.add(larger)
                    waiting.append(larger)
    return list(found)


def assert_close(found: torch.Tensor, expected: torch.Tensor, what: str) -> None:
    largest = expected.abs().max().item()
    difference = (found - expected).abs().max().item()
    assert difference <= TOLERANCE * largest, f"{what}: differs by {difference / largest:.2g} of the largest"
