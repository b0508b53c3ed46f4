"""Files that are short to send and long to decode."""

from __future__ import annotations

import io
import struct

from PIL import Image

SCAN = b"\xff\xda"


def jpeg_of_scans(side: int, scans: int) -> bytes:
    """A progressive JPEG of side × side grey pixels with so many scans, most of which change nothing."""
    buffer = io.BytesIO()
    Image.new("L", (side, side)).save(buffer, "JPEG", progressive=True, quality=10)
    data = buffer.getvalue()
    second = data.index(SCAN, data.index(SCAN) + 2)
    third = data.index(SCAN, second + 2)
    end = third + 2 + int.from_bytes(data[third + 2 : third + 4], "big")
    while not (data[end] == 0xFF and data[end + 1] != 0):
        end += 1
    repeated = scans - data.count(SCAN)
    return data[:end] + data[third:end] * repeated + data[end:]


def webp_canvas(width: int, height: int) -> bytes:
    """An animated WebP whose canvas is as large as it says, and whose only picture has 16 × 16 pixels."""
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "WEBP", lossless=True)
    picture = buffer.getvalue()[12:]
    canvas = b"\x02\0\0\0" + _u24(width - 1) + _u24(height - 1)
    frame = bytes(6) + _u24(15) + _u24(15) + _u24(100) + b"\0" + picture
    chunks = _chunk(b"VP8X", canvas) + _chunk(b"ANIM", bytes(6)) + _chunk(b"ANMF", frame)
    return _chunk(b"RIFF", b"WEBP" + chunks)


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body


def _u24(number: int) -> bytes:
    return struct.pack("<I", number)[:3]
