"""Pre- and post-processing equal torchvision's, and bad frames are refused with a reason."""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from common.errors import FrameError
from models import preprocess
from models.preprocess import (
    Preprocessing,
    answer,
    as_frame,
    decode,
    image_size,
    normalize,
    resize,
    top_classes,
)
from models.sample_frame import sample_frame
from models.torchvision_shim import torchvision


def picture(width: int = 61, height: int = 47) -> Image.Image:
    return Image.open(io.BytesIO(sample_frame(640, 480))).resize((width, height))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def with_transparent_colours(image: Image.Image) -> bytes:
    return encoded(image.convert("P"), "PNG", transparency=bytes(range(256)))


@pytest.mark.parametrize(
    "name", ["alexnet", "vit_b_16", "convnext_tiny", "swin_t", "efficientnet_b0", "inception_v3"]
)
@pytest.mark.parametrize("size", [(1280, 720), (200, 311), (37, 500)])
def test_the_steps_equal_torchvisions_preset(name: str, size: tuple[int, int]) -> None:
    """decode, resize and normalize give, bit for bit, what the model's published transforms give on a PIL image."""
    steps = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    frame = encoded(picture(*size), "JPEG")
    expected = steps(Image.open(io.BytesIO(frame)).convert("RGB")).unsqueeze(0)
    interpolation = str(steps.interpolation.value)
    small = resize(decode(as_frame(frame)), steps.resize_size[0], steps.crop_size[0], interpolation)
    assert (small.dtype, small.shape[2]) == (torch.uint8, 3)
    assert torch.equal(normalize(small, steps.mean, steps.std), expected)


@pytest.mark.parametrize(
    "make",
    [
        lambda image: encoded(image, "PNG"),
        lambda image: encoded(image, "WEBP", lossless=True),
        lambda image: encoded(image.convert("L"), "JPEG"),
        lambda image: encoded(image.convert("CMYK"), "JPEG"),
        lambda image: encoded(image.convert("RGBA"), "PNG"),
        lambda image: encoded(image.convert("LA"), "PNG"),
        lambda image: encoded(image.convert("P"), "PNG"),
        lambda image: encoded(image.convert("1"), "PNG"),
        lambda image: encoded(image, "PNG", transparency=(1, 2, 3)),
        lambda image: encoded(Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30)), "PNG"),
    ],
    ids=["rgb", "webp", "grey", "cmyk", "rgba", "grey+alpha", "palette", "bilevel", "colour-key", "16-bit"],
)
def test_every_kind_of_image_decodes_as_pil_converts_it(make: Callable[[Image.Image], bytes]) -> None:
    """Whatever the colour model, the result is PIL's `convert("RGB")`."""
    data = make(picture())
    expected = np.array(Image.open(io.BytesIO(data)).convert("RGB"))
    assert np.array_equal(decode(as_frame(data)).numpy(), expected)


def test_a_palette_with_transparency_keeps_its_colours() -> None:
    """Transparent palette entries, of which Pillow warns, decode to the colours of the palette."""
    plain, transparent = encoded(picture().convert("P"), "PNG"), with_transparent_colours(picture())
    assert torch.equal(decode(as_frame(transparent)), decode(as_frame(plain)))


def test_exif_orientation_is_not_applied() -> None:
    """A rotated photograph is seen as stored, as everyone who opens it with PIL sees it."""
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(picture(), "JPEG", exif=exif.tobytes())
    assert decode(as_frame(turned)).shape == (47, 61, 3)


def damaged_png() -> bytes:
    data = bytearray(encoded(picture(), "PNG"))
    data[len(data) // 2] ^= 0xFF
    return bytes(data)


def png_that_claims(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    return (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(header)) + chunk + struct.pack(">I", zlib.crc32(chunk))
        + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    )  # fmt: skip


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "frame of 0 bytes: not a readable image"),
        (b"not an image at all", "not a readable image"),
        (encoded(picture(), "GIF"), "expected JPEG, PNG, WEBP"),
        (encoded(picture(), "JPEG")[:700], "damaged JPEG image .*truncated"),
        (encoded(picture(), "JPEG")[:30], "frame of 30 bytes"),
        (damaged_png(), "damaged PNG image"),
        (png_that_claims(9000, 9000), "9000x9000 pixels: more than the limit of 64000000"),
        (png_that_claims(60000, 60000), "frame of .* bytes: .*decompression bomb"),
    ],
)
def test_a_bad_frame_is_refused_with_its_reason(data: bytes, reason: str) -> None:
    """Truncated, damaged, foreign and oversized files raise FrameError, and say why."""
    with pytest.raises(FrameError, match=reason):
        decode(as_frame(data))


def test_the_pixel_limit_holds_before_pixels_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """An image above the limit is refused by its head alone, also when only its size is asked for."""
    monkeypatch.setattr(preprocess, "MAX_PIXELS", 61 * 47 - 1)
    for refuse in (image_size, lambda data: decode(as_frame(data))):
        with pytest.raises(FrameError, match="61x47 pixels"):
            refuse(encoded(picture(), "JPEG"))


def test_an_answer_holds_the_likeliest_classes_exactly() -> None:
    """answer() gives class indices and softmax probabilities, the likeliest first, for each of a batch."""
    logits = torch.tensor([[0.0, 3.0, 1.0, -2.0, 2.0, 0.5], [9.0, 0.0, 0.0, 0.0, 0.0, 8.0]])
    found = answer(logits)
    assert (found.dtype, found.shape) == (torch.float64, (2, 5, 2))
    assert found[0, :, 0].tolist() == [1, 4, 2, 5, 0]
    assert found[1, :2, 0].tolist() == [0, 5]
    assert torch.allclose(found[0, :, 1], torch.softmax(logits[0].double(), -1)[[1, 4, 2, 5, 0]])
    assert answer(torch.zeros(1, 3)).shape == (1, 3, 2)


def test_labels_are_put_to_an_answer() -> None:
    """top_classes() gives (index, label, probability); an index that is no class is refused."""
    row = torch.tensor([[2, 0.75], [0, 0.25]], dtype=torch.float64)
    assert top_classes(row, ("cat", "dog", "owl")) == ((2, "owl", 0.75), (0, "cat", 0.25))
    for index in (3.0, -1.0, 0.5, float("nan")):
        with pytest.raises(FrameError, match="the model has 3 classes"):
            top_classes(torch.tensor([[index, 1.0]], dtype=torch.float64), ("cat", "dog", "owl"))
    for probability in (math.nan, math.inf, -0.1, 1.1):
        with pytest.raises(FrameError, match="no probability"):
            top_classes(torch.tensor([[1.0, probability]], dtype=torch.float64), ("cat", "dog", "owl"))


def test_another_crop_size_scales_the_resize_size() -> None:
    """The share of the image that the crop shows stays the same."""
    assert Preprocessing(224, 256).scaled_to(64) == Preprocessing(64, 73)
