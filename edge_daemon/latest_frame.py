"""The newest answered frame, with its picture in small. Only that one is kept, and the one that was told before."""

from __future__ import annotations

import asyncio
import io
from collections import OrderedDict
from typing import Any

from PIL import Image

from common.errors import FrameError
from edge_daemon.results import FrameRecord
from models.preprocess import open_image

SIDE_PIXELS = 480
QUALITY = 75
MOST_TOLD = 2


class LatestFrame:
    """Remembers the newest answered frame. Pictures are made when asked for, one at a time, in a thread."""

    def __init__(self) -> None:
        self._newest: FrameRecord | None = None
        self._told: OrderedDict[int, FrameRecord] = OrderedDict()
        self._made: tuple[int, bytes | None] = (-1, None)
        self._making = asyncio.Lock()

    def saw(self, record: FrameRecord) -> None:
        """Take note of a frame's record."""
        if record.error is None:
            self._newest = record

    def status(self) -> dict[str, Any] | None:
        """Return what the status says of the newest one; none before there is one."""
        record = self._newest
        if record is None:
            return None
        return {
            "frame": record.frame.number,
            "name": record.frame.origin.name.encode("utf-8", "backslashreplace").decode(),
            "answered_at": round(record.answered_at, 3),
            "ran": record.ran,
            "cut": record.cut,
            "total_ms": round(record.durations.total_ms, 2),
            "top5": [
                {"index": top.index, "label": top.label, "probability": round(top.probability, 6)}
                for top in record.top5
            ],
        }

    def tell(self) -> None:
        """Keep the newest one for those who are told of it now and ask for its picture in a moment."""
        if self._newest is not None:
            self._told[self._newest.frame.number] = self._newest
            while len(self._told) > MOST_TOLD:
                self._told.popitem(last=False)

    async def picture(self, number: int | None) -> bytes | None:
        """Return a frame's picture as a JPEG; none where the frame is gone, or is no picture.

        `number`: the newest, or one that was told lately; none: the newest.
        """
        record = self._newest if number is None else self._told.get(number)
        if record is None and self._newest is not None and self._newest.frame.number == number:
            record = self._newest
        if record is None:
            return None
        async with self._making:
            if self._made[0] != record.frame.number:
                self._made = (record.frame.number, await asyncio.to_thread(in_small, record.frame.data))
            return self._made[1]


def in_small(data: memoryview) -> bytes | None:
    """Make a JPEG of at most `SIDE_PIXELS` a side of an encoded image, without what else its file says.

    None for what is no image. A JPEG is decoded in small, which takes a fraction of the time.
    """
    try:
        with open_image(bytes(data)) as image:
            image.draft("RGB", (SIDE_PIXELS, SIDE_PIXELS))
            image.thumbnail((SIDE_PIXELS, SIDE_PIXELS), Image.Resampling.BILINEAR)
            small = io.BytesIO()
            image.convert("RGB").save(small, "JPEG", quality=QUALITY)
    except (FrameError, OSError, ValueError, SyntaxError):  # Pillow's decoders raise all of these
        return None
    return small.getvalue()
