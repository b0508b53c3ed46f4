"""Pictures of a camera made into frames: JPEG files, as the network's first unit reads them."""

from __future__ import annotations

import io

from PIL import Image

from edge_daemon.picture_edit import PictureEdit

QUALITY = 95
"""What JPEG loses here is far less than what the camera's own compression has lost before."""

_TURNS = {
    90: Image.Transpose.ROTATE_270,  # Pillow turns counter-clockwise
    180: Image.Transpose.ROTATE_180,
    270: Image.Transpose.ROTATE_90,
}


def encode(picture: Image.Image, edit: PictureEdit) -> bytes:
    """Turn and cut a picture, and return it as a JPEG. Raises `ValueError` when it is smaller than the crop."""
    if edit.rotate:
        picture = picture.transpose(_TURNS[edit.rotate])
    box = edit.box(*picture.size)
    if box is not None:
        picture = picture.crop(box)
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "JPEG", quality=QUALITY, subsampling="4:2:0")
    return buffer.getvalue()


def edit_jpeg(data: bytes, edit: PictureEdit) -> bytes:
    """Turn and cut a JPEG; without an edit its own bytes are returned, and nothing is lost.

    Raises `ValueError` when it is smaller than the crop, or no JPEG.
    """
    if not edit:
        return data
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as picture:
            return encode(picture, edit)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"a damaged JPEG of {len(data)} bytes: {error}") from error
