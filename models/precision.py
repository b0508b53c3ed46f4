"""Half precision: what may be asked for, and how far its answers are from float32's, measured.

Only an operator's explicit choice turns it on. Whether answers agree shows on real frames alone, and those are at the
edge; what is measured here, on made-up images, finds a network that overflows, and puts a number into the log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import structlog
import torch
from torch.nn import functional

from common.errors import ConfigurationError
from models.agreement import AGREEMENT, difference
from models.executor import Executor, TorchExecutor
from models.model import Model

log = structlog.get_logger()

Precision = Literal["float32", "float16", "bfloat16"]

_TYPES: Mapping[Precision, torch.dtype] = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
_TOLERANCES: Mapping[Precision, float] = {"float32": AGREEMENT, "float16": 2e-2, "bfloat16": 1e-1}
"""Between two runs of the same work, which may sum in another order: some ten roundings, of 11 or 8 bits."""
IMAGES = 16


def torch_dtype(precision: Precision) -> torch.dtype:
    return _TYPES[precision]


def tolerance_of(precision: Precision) -> float:
    """How far results of the same work may lie apart, in shares of the largest value."""
    return _TOLERANCES[precision]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How logits of several images compare with what they should be."""

    images: int
    same: int
    """Of these the likeliest class is the same."""
    apart: float
    """The largest difference, in shares of the image's largest logit; infinite where one is no finite number."""


def compare(expected: Sequence[torch.Tensor], found: Sequence[torch.Tensor]) -> Agreement:
    """Compare logits [1, classes], image by image."""
    pairs = list(zip(expected, found, strict=True))
    same = sum(int(a.argmax() == b.argmax()) for a, b in pairs)
    return Agreement(len(pairs), same, max(difference(a, b) for a, b in pairs))


def check_precision(model: Model, executor: Executor, precision: Precision) -> Agreement:
    """Run made-up images in half precision and, on the CPU, in float32; log how far the logits lie apart.

    Raises `ConfigurationError` where the network cannot be run so, or its values become too large.
    """
    units = model.network_units
    segment = model.segment(units, units[-1:])
    (entry,) = segment.inputs
    images = [made_up_image(model.preprocessing.crop_size, seed) for seed in range(IMAGES)]
    exact = TorchExecutor().compile(segment)
    expected = [exact.run({entry: image})[units[-1]] for image in images]
    try:
        halved = executor.compile(segment)
        found = [halved.run({entry: image})[units[-1]] for image in images]
    except RuntimeError as error:
        raise ConfigurationError(
            f"model {model.name} does not run in {precision} ({str(error)[:200]}); set CLEAVE_CLOUD_PRECISION=float32"
        ) from error
    agreement = compare(expected, found)
    if agreement.apart == float("inf"):
        raise ConfigurationError(
            f"model {model.name} in {precision}: logits are not finite; its values are too large for it. "
            "Set CLEAVE_CLOUD_PRECISION to bfloat16 or float32"
        )
    log.warning(
        "half precision: answers are not those of float32",
        model=model.name,
        precision=precision,
        largest_difference=f"{agreement.apart:.1e}",
        same_class=f"{agreement.same} of {agreement.images} made-up images",
    )
    return agreement


def made_up_image(size: int, seed: int) -> torch.Tensor:
    """Return float32[1, 3, size, size] with values and large patches as normalised photographs have them."""
    source = torch.Generator().manual_seed(seed)
    image = torch.zeros(1, 3, size, size)
    for cells, amplitude in ((3, 1.0), (12, 0.5), (48, 0.25)):
        patches = torch.randn(1, 3, cells, cells, generator=source) * amplitude
        image += functional.interpolate(patches, size=(size, size), mode="bilinear")
    return image.clamp_(-2.1, 2.6)
