"""What a crossing tensor may be sent as: the codecs' names, what each is for, and the sizes it may have.

    raw             the bytes as they lie in memory
    zstd            the same, packed; bit-exact
    f16, f16-zstd   float32 as half precision
    int8, int8-zstd float32 as one byte per element, affine, with scale and zero point of its own for each channel
    webp-lossless   an image uint8[height, width, 3]; bit-exact
    jpegQ, webpQ    the same, at quality Q

How they compute is in `models/codecs.py`. Source: planning.md §4.
"""

from __future__ import annotations

import math
import re
from enum import Enum
from functools import lru_cache

from common import limits
from common.graph import TensorSpec

RAW = "raw"
"""The codec that sends a tensor's bytes as they are."""
ZSTD = "zstd"
F16, F16_ZSTD = "f16", "f16-zstd"
INT8, INT8_ZSTD = "int8", "int8-zstd"
WEBP_LOSSLESS = "webp-lossless"

_AT_QUALITY = re.compile(
    r"(jpeg|webp)([1-9][0-9]?|100)"
)  # \d would be any script's digits: names without end
INT8_SLICE_BYTES = 8
"""Scale and zero point of one channel, two float32."""
MOST_WEBP_PIXELS = 16_383
"""Along a side: the format's own limit."""


class Loss(Enum):
    """What a codec takes from a tensor."""

    NONE = "nothing"
    F16 = "precision: half is left"
    INT8 = "precision: 256 steps a channel are left"
    IMAGE = "what the eye does not see"


OFFERED = (
    ZSTD, F16, F16_ZSTD, INT8, INT8_ZSTD, WEBP_LOSSLESS, "webp80", "jpeg90", "jpeg75",
)  # fmt: skip
"""The codecs that are measured and planned with, beside `raw`."""


_asked_again = lru_cache(maxsize=256)
"""Names are few and asked about with every tensor; those that a peer makes up push each other out."""


@_asked_again
def is_known(codec: str) -> bool:
    return codec == RAW or codec in OFFERED or _AT_QUALITY.fullmatch(codec) is not None


@_asked_again
def loss_of(codec: str) -> Loss:
    """Return what `codec` loses."""
    if codec.startswith("f16"):
        return Loss.F16
    if codec.startswith("int8"):
        return Loss.INT8
    return Loss.IMAGE if image_quality(codec) is not None else Loss.NONE


@_asked_again
def is_image_codec(codec: str) -> bool:
    return codec == WEBP_LOSSLESS or image_quality(codec) is not None


def is_packed(codec: str) -> bool:
    """Say whether what `codec` makes of a tensor goes through zstd in the end."""
    return codec.endswith(ZSTD)


def unpacked(codec: str) -> str:
    """Return the codec that `codec` is with packing."""
    return {ZSTD: RAW, F16_ZSTD: F16, INT8_ZSTD: INT8}.get(codec, codec)


@_asked_again
def image_quality(codec: str) -> tuple[str, int] | None:
    """Return format and quality that a lossy image codec names; none for other codecs."""
    match = _AT_QUALITY.fullmatch(codec)
    return (match[1].upper(), int(match[2])) if match else None


def fits(codec: str, spec: TensorSpec) -> bool:
    """Say whether tensors of this type and shape can be sent so at all."""
    if codec == RAW:
        return True
    if not is_known(codec) or not 0 < spec.nbytes <= limits.MAX_PAYLOAD_BYTES:
        return False
    if is_image_codec(codec):
        sides = spec.shape[:2]
        return spec.dtype == "uint8" and spec.shape[2:] == (3,) and max(sides) <= MOST_WEBP_PIXELS
    return codec == ZSTD or spec.dtype == "float32"


def slices(spec: TensorSpec) -> int:
    """Number of parts of a tensor that `int8` gives a scale each: its channels, or the whole of a vector."""
    return spec.shape[1] if len(spec.shape) >= 3 else 1


def unpacked_bytes(codec: str, spec: TensorSpec) -> int:
    """Length of what a (packing) codec makes of a tensor, before it is packed."""
    elements = math.prod(spec.shape)
    match loss_of(codec):
        case Loss.F16:
            return 2 * elements
        case Loss.INT8:
            return elements + INT8_SLICE_BYTES * slices(spec)
        case _:
            return spec.nbytes


def wrong_size(codec: str, spec: TensorSpec, nbytes: int) -> str | None:
    """Say what is wrong with `nbytes` as the length of a tensor sent by `codec`; none if nothing is.

    Packed forms and images are always shorter than what they stand for: whoever sends would not gain otherwise.
    """
    whole = unpacked_bytes(codec, spec)
    if is_packed(codec) or is_image_codec(codec):
        return None if 0 < nbytes < whole else f"between 0 and {whole}"
    return None if nbytes == whole else f"{whole}"
