"""What is to be known of a JPEG file before it is decoded."""

from __future__ import annotations

_START_OF_SCAN = b"\xff\xda"


def jpeg_scans(data: bytes) -> int:
    """Return how many passes over its image a JPEG makes, at most: a thumbnail's or a stray one may count, too.

    A progressive file may have any number, each of a few bytes and each as much work as the image is large. Within a
    scan's own bytes 0xff is always followed by 0 or a marker, so looking for this one finds them all.
    """
    return data.count(_START_OF_SCAN)
