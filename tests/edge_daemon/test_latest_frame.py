"""Facts about the latest frame's picture: small, of that frame, and nothing else of it."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import pytest
from PIL import Image

from edge_daemon import latest_frame as module
from edge_daemon.frame import Frame, ImageFile
from edge_daemon.latest_frame import SIDE_PIXELS, LatestFrame, in_small
from edge_daemon.results import FrameRecord
from tests.edge_daemon.records import record
from tests.event_loop import run
from tests.tiny_model import jpeg


def of(number: int, data: bytes, **changes: Any) -> FrameRecord:
    frame = Frame(number, ImageFile(f"{number}.jpg", len(data), 0), 0.0, memoryview(data))
    return record(frame=frame, **changes)


def encoded(size: tuple[int, int], kind: str, mode: str = "RGB", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_it_is_a_small_jpeg_of_any_frame(kind: str) -> None:
    """Whatever the frame was, and however large."""
    small = in_small(memoryview(encoded((3000, 2000), kind)))
    assert small is not None
    picture = Image.open(io.BytesIO(small))
    assert (picture.format, picture.size) == ("JPEG", (SIDE_PIXELS, SIDE_PIXELS * 2 // 3))
    assert len(small) < 100_000


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "I;16"])
def test_any_kind_of_colour_is_shown(mode: str) -> None:
    """Grey, a palette, transparency, sixteen bits."""
    assert in_small(memoryview(encoded((30, 20), "PNG", mode))) is not None


def test_what_else_the_file_says_stays_here() -> None:
    """A camera writes where it stands into its pictures."""
    exif = Image.Exif()
    exif[0x010E] = "52.52 N 13.40 E"
    small = in_small(memoryview(encoded((30, 20), "JPEG", exif=exif.tobytes())))
    assert small is not None
    assert b"13.40" not in small


@pytest.mark.parametrize(
    "data", [b"", b"no image", jpeg()[:200], encoded((40, 30), "PNG")[:-30], b"GIF89a" + bytes(50)]
)
def test_what_is_no_image_has_no_picture(data: bytes) -> None:
    """And no error either."""
    assert in_small(memoryview(data)) is None


def test_a_picture_is_of_the_frame_that_was_told() -> None:
    """Frames that come while the page asks change nothing; the one told before is there, too, older ones are gone."""

    async def main() -> None:
        latest = LatestFrame()
        assert latest.status() is None
        assert await latest.picture(None) is None
        for number in range(4):
            latest.saw(of(number, jpeg(number)))
            latest.tell()
        latest.saw(of(4, jpeg(4)))
        latest.saw(of(5, b"no image", error="not a readable image"))
        status = latest.status()
        assert status is not None
        assert (status["frame"], status["name"]) == (4, "4.jpg")
        pictures = [await latest.picture(number) for number in range(6)]
        assert [picture is not None for picture in pictures] == [False, False, True, True, True, False]
        assert pictures[2] != pictures[3]
        assert await latest.picture(None) == pictures[4]

    run(main())


def test_a_picture_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many pages that ask for the same one cost one decoding."""
    made = 0

    def make(data: memoryview) -> bytes:
        nonlocal made
        made += 1
        return b"small"

    monkeypatch.setattr(module, "in_small", make)

    async def main() -> None:
        latest = LatestFrame()
        latest.saw(of(1, jpeg()))
        assert set(await asyncio.gather(*(latest.picture(None) for _ in range(20)))) == {b"small"}
        assert made == 1

    run(main())


def test_a_name_of_any_bytes_can_be_told() -> None:
    """As text that every reader of JSON takes."""
    latest = LatestFrame()
    name = b"\xff.jpg".decode(errors="surrogateescape")
    latest.saw(record(name=name))
    status = latest.status()
    assert status is not None
    assert status["name"].encode("utf-8") == b"\\udcff.jpg"
