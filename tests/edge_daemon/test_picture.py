"""Facts about pictures made into frames."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from edge_daemon.picture import edit_jpeg, encode
from edge_daemon.picture_edit import Crop, PictureEdit
from tests.tiny_model import jpeg

RED, GREEN, BLUE, GREY = (255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 128, 128)


def quarters() -> Image.Image:
    """64 × 48 pixels: red and green above blue and grey."""
    image = Image.new("RGB", (64, 48), RED)
    image.paste(GREEN, (32, 0, 64, 24))
    image.paste(BLUE, (0, 24, 32, 48))
    image.paste(GREY, (32, 24, 64, 48))
    return image


def corners(data: bytes) -> list[tuple[int, ...]]:
    """The colours at the four corners, row by row, by the nearest of the four."""
    image = Image.open(io.BytesIO(data))
    width, height = image.size
    found: list[tuple[int, ...]] = []
    for at in ((4, 4), (width - 5, 4), (4, height - 5), (width - 5, height - 5)):
        pixel = image.getpixel(at)
        assert isinstance(pixel, tuple)
        near = min(
            (RED, GREEN, BLUE, GREY), key=lambda c: sum(abs(a - b) for a, b in zip(c, pixel, strict=True))
        )
        assert sum(abs(a - b) for a, b in zip(near, pixel, strict=True)) < 30, "colours are kept"
        found.append(near)
    return found


@pytest.mark.parametrize(
    ("rotate", "turned"),
    [
        (0, [RED, GREEN, BLUE, GREY]),
        (90, [BLUE, RED, GREY, GREEN]),
        (180, [GREY, BLUE, GREEN, RED]),
        (270, [GREEN, GREY, RED, BLUE]),
    ],
)
def test_pictures_are_turned_clockwise(rotate: int, turned: list[tuple[int, ...]]) -> None:
    """A quarter turn swaps width and height."""
    data = encode(quarters(), PictureEdit(rotate))
    assert corners(data) == turned
    assert Image.open(io.BytesIO(data)).size == ((48, 64) if rotate in (90, 270) else (64, 48))


def test_the_crop_is_of_the_turned_picture() -> None:
    """What the operator sees upright is what the numbers are of."""
    data = encode(quarters(), PictureEdit(90, Crop(24, 32, 24, 32)))
    assert Image.open(io.BytesIO(data)).size == (24, 32)
    assert set(corners(data)) == {GREEN}


def test_without_an_edit_a_jpeg_is_left_as_it_is() -> None:
    """Nothing is lost, and nothing is computed."""
    data = jpeg(1)
    assert edit_jpeg(data, PictureEdit()) is data
    assert edit_jpeg(b"no jpeg", PictureEdit()) == b"no jpeg"


def test_a_jpeg_is_turned_like_a_picture() -> None:
    """By way of its pixels."""
    data = encode(quarters(), PictureEdit())
    assert corners(edit_jpeg(data, PictureEdit(180))) == [GREY, BLUE, GREEN, RED]


@pytest.mark.parametrize("data", [b"", b"no jpeg", jpeg(1)[:200]])
def test_a_damaged_jpeg_cannot_be_turned(data: bytes) -> None:
    """It is this frame's fault."""
    with pytest.raises(ValueError, match=f"a damaged JPEG of {len(data)} bytes"):
        edit_jpeg(data, PictureEdit(90))
