"""Facts about codecs' names: what each is for, what it loses, and the lengths it may make."""

from __future__ import annotations

import pytest

from common.graph import TensorSpec
from common.wire import codecs
from common.wire.codecs import Loss

ACTIVATION = TensorSpec("float32", (1, 64, 56, 56))
IMAGE = TensorSpec("uint8", (224, 224, 3))
FILE = TensorSpec("uint8", (180_000,))


def test_every_offered_codec_is_known_and_is_for_something() -> None:
    """What is planned with can be named on the wire, and is for activations or for images."""
    for codec in codecs.OFFERED:
        assert codecs.is_known(codec)
        assert codecs.fits(codec, ACTIVATION) or codecs.fits(codec, IMAGE)


@pytest.mark.parametrize(
    "codec", ["", "RAW", "int4", "jpeg", "jpeg0", "jpeg101", "webp080", "zstd ", "f16+zstd", "jpeg9\u0663"]
)
def test_other_names_are_not_known(codec: str) -> None:
    """A name is a codec's exactly, or none's."""
    assert not codecs.is_known(codec)
    assert not codecs.fits(codec, ACTIVATION)


@pytest.mark.parametrize(
    ("codec", "loss"),
    [
        ("raw", Loss.NONE),
        ("zstd", Loss.NONE),
        ("webp-lossless", Loss.NONE),
        ("f16-zstd", Loss.F16),
        ("int8", Loss.INT8),
        ("jpeg75", Loss.IMAGE),
        ("webp80", Loss.IMAGE),
    ],
)
def test_each_codec_says_what_it_loses(codec: str, loss: Loss) -> None:
    """Lossless are raw, packing and lossless WebP."""
    assert codecs.loss_of(codec) is loss


def test_image_codecs_are_for_images_and_float_codecs_for_floats() -> None:
    """A file's bytes are no image, an image is no float tensor; packing takes anything."""
    for codec in ("jpeg90", "webp-lossless"):
        assert codecs.fits(codec, IMAGE)
        assert not codecs.fits(codec, ACTIVATION)
        assert not codecs.fits(codec, FILE)
        assert not codecs.fits(codec, TensorSpec("uint8", (20_000, 10, 3)))
    for codec in ("f16", "int8-zstd"):
        assert codecs.fits(codec, ACTIVATION)
        assert not codecs.fits(codec, IMAGE)
    assert codecs.fits("zstd", FILE)
    assert not codecs.fits("zstd", TensorSpec("float32", (0, 4)))


@pytest.mark.parametrize(
    ("codec", "right", "wrong"),
    [
        ("raw", 802_816, 802_815),
        ("f16", 401_408, 401_409),
        ("int8", 200_704 + 64 * 8, 200_704),
        ("int8-zstd", 1, 200_704 + 64 * 8),
        ("zstd", 802_815, 802_816),
        ("zstd", 1, 0),
    ],
)
def test_lengths_are_what_shape_and_codec_make(codec: str, right: int, wrong: int) -> None:
    """Fixed codecs have one length; packed forms are shorter than what is packed, and not empty."""
    assert codecs.wrong_size(codec, ACTIVATION, right) is None
    assert codecs.wrong_size(codec, ACTIVATION, wrong) is not None
