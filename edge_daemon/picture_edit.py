"""How a camera's picture is turned and cut before it is a frame."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Crop:
    """A part of a picture in pixels, from its left upper corner."""

    x: int
    y: int
    width: int
    height: int

    @classmethod
    def parse(cls, value: object) -> object:
        """Read `x,y,width,height`. Raises `ValueError`."""
        if not isinstance(value, str):
            return value
        numbers = [part.strip() for part in value.split(",")]
        if len(numbers) != 4 or not all(part.isascii() and part.isdigit() for part in numbers):
            raise ValueError("not of the form x,y,width,height, in whole pixels")
        crop = cls(*map(int, numbers))
        if not crop.width or not crop.height:
            raise ValueError("a width or a height of 0 leaves no picture")
        return crop

    def __str__(self) -> str:
        return f"{self.x},{self.y},{self.width},{self.height}"


@dataclass(frozen=True, slots=True)
class PictureEdit:
    """First turned by `rotate` degrees clockwise (0, 90, 180, 270), then cut: `crop` is of the upright picture."""

    rotate: int = 0
    crop: Crop | None = None

    def __bool__(self) -> bool:
        return bool(self.rotate) or self.crop is not None

    def box(self, width: int, height: int) -> tuple[int, int, int, int] | None:
        """Return what to cut from a turned picture of this size: left, upper, right, lower.

        None: nothing. Raises `ValueError` when the picture is too small.
        """
        if self.crop is None:
            return None
        right, lower = self.crop.x + self.crop.width, self.crop.y + self.crop.height
        if right > width or lower > height:
            raise ValueError(
                f"CLEAVE_EDGE_CROP={self.crop} goes beyond the picture of {width}x{height} pixels"
                f"{f' (turned by {self.rotate} degrees)' if self.rotate else ''}"
            )
        return self.crop.x, self.crop.y, right, lower


NO_EDIT = PictureEdit()
