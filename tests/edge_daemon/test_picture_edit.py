"""Facts about turning and cutting pictures, as values."""

from __future__ import annotations

import pytest

from edge_daemon.picture_edit import Crop, PictureEdit


def test_a_crop_is_four_numbers() -> None:
    """Read and shown in the same form."""
    crop = Crop.parse("10, 20,300,200")
    assert crop == Crop(10, 20, 300, 200)
    assert str(crop) == "10,20,300,200"


@pytest.mark.parametrize(
    "text", ["", "1,2,3", "1,2,3,4,5", "a,b,c,d", "-1,0,9,9", "0,0,0,9", "0,0,9,0", "1.5,0,9,9"]
)
def test_anything_else_is_no_crop(text: str) -> None:
    """Also one that would leave no picture."""
    with pytest.raises(ValueError, match=r"form x,y,width,height|no picture"):
        Crop.parse(text)


def test_a_crop_must_lie_within_the_turned_picture() -> None:
    """The error says by how much not."""
    edit = PictureEdit(90, Crop(10, 20, 30, 40))
    assert edit.box(40, 60) == (10, 20, 40, 60)
    with pytest.raises(
        ValueError, match=r"CROP=10,20,30,40 goes beyond the picture of 39x60 pixels \(turned by 90"
    ):
        edit.box(39, 60)
    with pytest.raises(ValueError, match="beyond the picture of 40x59"):
        PictureEdit(0, edit.crop).box(40, 59)


def test_no_edit_is_none() -> None:
    """So that ready-made JPEGs can be left as they are."""
    assert not PictureEdit()
    assert PictureEdit(180)
    assert PictureEdit(0, Crop(0, 0, 1, 1))
    assert PictureEdit().box(1, 1) is None
