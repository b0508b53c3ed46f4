"""The baseline without us: torchvision's network in eager mode, its own transforms, as its examples show it.

    python -m benchmarks.plain_classifier MODEL WEIGHTS SLOWDOWN

Each line on standard input is the path of a JPEG; the answer says how many ms it took, at the edge's pace.
"""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from models.executor import Pace
from models.torchvision_shim import torchvision
from models.zoo import load_model, load_network

TOP = 5


class PlainClassifier:
    """JPEG bytes in, the five most likely classes out."""

    def __init__(self, name: str, weights: str) -> None:
        self._network = load_network(name, weights)
        self._transform = _transforms(name, weights)

    @torch.inference_mode()
    def top5(self, jpeg: bytes) -> list[dict[str, float]]:
        image = Image.open(io.BytesIO(jpeg)).convert("RGB")
        logits = self._network(self._transform(image).unsqueeze(0))
        probabilities = logits.softmax(dim=1)[0]
        best = probabilities.topk(min(TOP, probabilities.numel()))
        return [
            {"index": int(index), "probability": float(value)}
            for value, index in zip(best.values, best.indices, strict=True)
        ]


def _transforms(name: str, weights: str) -> Callable[[Image.Image], torch.Tensor]:
    """Return torchvision's preset for its own models, the same steps for a user's model."""
    if ":" not in name:
        preset: Callable[[Image.Image], torch.Tensor]
        preset = torchvision.models.get_model_weights(name).DEFAULT.transforms()
        return preset
    wanted = load_model(name, weights).preprocessing
    steps: Any = torchvision.transforms
    composed: Callable[[Image.Image], torch.Tensor] = steps.Compose(
        [
            steps.Resize(wanted.resize_size),
            steps.CenterCrop(wanted.crop_size),
            steps.ToTensor(),
            steps.Normalize(wanted.mean, wanted.std),
        ]
    )
    return composed


def main() -> int:
    name, weights, slowdown = sys.argv[1:]
    torch.set_num_threads(1)
    classifier = PlainClassifier(name, weights)
    pace = Pace(float(slowdown))
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        jpeg = Path(line.strip()).read_bytes()
        began = time.perf_counter()
        pace.run(lambda: classifier.top5(jpeg))  # noqa: B023  (called at once)
        print(json.dumps({"ms": (time.perf_counter() - began) * 1e3}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
