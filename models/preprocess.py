"""Pre- and post-processing as plain functions, so that they are units of the graph like any other.

    frame  uint8[n]        the encoded file's bytes
      │ decode
    uint8[H, W, 3]
      │ resize             short side to `resize_size`, then the central square of `crop_size`
    uint8[S, S, 3]
      │ normalize
    float32[1, 3, S, S] ─► network ─► logits float32[1, classes]
                                        │ answer
                                      float64[1, k, 2]

The three steps together equal torchvision's `ImageClassification` preset on a PIL image, value by value.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from common import limits
from common.errors import FrameError
from models.jpeg import jpeg_scans
from models.torchvision_shim import torchvision

_functional = torchvision.transforms.functional
_InterpolationMode = torchvision.transforms.InterpolationMode

FORMATS = ("JPEG", "PNG", "WEBP")
"""What `decode` reads. Pillow knows many more formats, with decoders that are far less tested."""

MAX_PIXELS = limits.MAX_FRAME_PIXELS

TOP = 5
"""Number of classes in an answer (fewer where the model has fewer)."""


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What turns an image into the network's input. Sizes in pixels; `interpolation` as torchvision names it."""

    crop_size: int = 224
    resize_size: int = 256
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    interpolation: str = "bilinear"

    def scaled_to(self, crop_size: int) -> Preprocessing:
        """Return this with another crop size, and the resize size in proportion."""
        resize_size = round(self.resize_size * crop_size / self.crop_size)
        return Preprocessing(crop_size, resize_size, self.mean, self.std, self.interpolation)


def as_frame(data: bytes) -> torch.Tensor:
    """Wrap an encoded file's bytes as the tensor uint8[n] that `decode` reads."""
    return torch.from_numpy(np.frombuffer(data, dtype=np.uint8).copy())


def image_size(data: bytes) -> tuple[int, int]:
    """Read (width, height) from an encoded file's head. Raises `FrameError` as `decode` does."""
    with open_image(data) as image:
        return image.size


def decode(frame: torch.Tensor) -> torch.Tensor:
    """Decode an encoded image, uint8[n], to uint8[H, W, 3], as PIL's `convert("RGB")` does.

    EXIF orientation is not applied, alpha is dropped: as the torchvision models' users do it. Raises
    `FrameError`, with the reason, for what is no image, a damaged one, or one above `MAX_PIXELS`.
    """
    data = frame.numpy().tobytes()
    with open_image(data) as image:
        try:
            # Pillow warns when such an image goes to RGB directly; by way of RGBA the colours are the same.
            source = image.convert("RGBA") if image.mode == "P" and "transparency" in image.info else image
            return torch.from_numpy(np.array(source.convert("RGB")))
        except (
            Exception
        ) as error:  # a decoder on damaged bytes may raise anything; all of it is the frame's fault
            raise FrameError(f"frame of {len(data)} bytes: damaged {image.format} image ({error})") from error


def resize(image: torch.Tensor, resize_size: int, crop_size: int, interpolation: str) -> torch.Tensor:
    """Resize uint8[H, W, 3] to a short side of `resize_size`, crop the centre: uint8[crop, crop, 3].

    Raises `FrameError` for a strip so narrow that scaling it would take more than `MAX_PIXELS`.
    """
    height, width = image.shape[:2]
    if max(height, width) * resize_size * resize_size > MAX_PIXELS * min(height, width):
        raise FrameError(f"frame of {width}x{height} pixels: too narrow to be scaled to {resize_size}")
    picture = Image.fromarray(image.numpy())
    picture = _functional.resize(picture, [resize_size], interpolation=_InterpolationMode(interpolation))
    return torch.from_numpy(np.array(_functional.center_crop(picture, [crop_size])))


def normalize(image: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """Turn uint8[S, S, 3] into the network's input float32[1, 3, S, S], per channel (x/255 - mean) / std."""
    scaled = image.permute(2, 0, 1).contiguous().to(torch.float32).div_(255)
    scaled.sub_(torch.tensor(mean).view(-1, 1, 1)).div_(torch.tensor(std).view(-1, 1, 1))
    return scaled.unsqueeze(0)


def answer(logits: torch.Tensor) -> torch.Tensor:
    """Return the `TOP` likeliest classes of logits[batch, classes] as float64[batch, k, 2].

    Column 0 is the class index (exact in float64), column 1 its probability; the likeliest comes first.
    """
    probabilities = torch.softmax(logits.to(torch.float64), dim=-1)
    values, indices = probabilities.topk(min(TOP, logits.shape[-1]), dim=-1)
    return torch.stack((indices.to(torch.float64), values), dim=-1)


def top_classes(row: torch.Tensor, labels: Sequence[str]) -> tuple[tuple[int, str, float], ...]:
    """Put labels to one row [k, 2] of an answer: (class index, label, probability), the likeliest first.

    The row may come from another machine: raises `FrameError` for an index that is no class of the model, and for a
    probability that is none (JSON cannot say NaN).
    """
    found: list[tuple[int, str, float]] = []
    for index, probability in row.tolist():
        if index not in range(len(labels)):  # false for 0.5 and for NaN, too
            raise FrameError(f"the answer names class {index:g}; the model has {len(labels)} classes")
        if not 0.0 <= probability <= 1.0:  # NaN neither
            raise FrameError(f"the answer says {probability:g} of class {index:g}: that is no probability")
        found.append((int(index), labels[int(index)], probability))
    return tuple(found)


def open_image(data: bytes) -> Image.Image:
    """Open an encoded image, by its head. Raises `FrameError` as `decode` does, for what its head tells."""
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise FrameError(f"frame of {len(data)} bytes: {error}") from error
    except Exception as error:  # reading a damaged header may raise anything
        raise FrameError(
            f"frame of {len(data)} bytes: not a readable image (expected {', '.join(FORMATS)})"
        ) from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        image.close()
        raise FrameError(f"frame of {width}x{height} pixels: more than the limit of {MAX_PIXELS}")
    if image.format in ("JPEG", "MPO") and jpeg_scans(data) > limits.MAX_JPEG_SCANS:
        image.close()
        raise FrameError(
            f"frame of {len(data)} bytes: {jpeg_scans(data)} scans, more than the limit of {limits.MAX_JPEG_SCANS}"
        )
    return image
