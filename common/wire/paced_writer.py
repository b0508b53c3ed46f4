"""Feeds a TLS transport in pieces.

An event loop's TLS layer encrypts whatever it is given at once, and hands it to a transport below that nobody
can ask how much has left: a tensor of 30 MB would be copied, and count as sent. So it gets a piece at a time, the
next one when the last is gone, and what waits is counted here. Pieces are references to the sender's memory.

    send() ─► [ ▢ ▢ ▢ ▢ ] ─► TLS layer ─► transport ─► kernel
               waits here     a piece      64 KiB and a piece at most
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from common import limits

PIECE_BYTES = 64 * limits.KIB
"""Four TLS records. 532 MB/s on one core that plays both sides; 256 KiB at a time are no faster."""


class PacedWriter:
    """Hands buffers on through `write`, a piece at a time, while the transport is not `paused`."""

    def __init__(self, write: Callable[[memoryview], None]) -> None:
        self._write = write
        self._waiting: deque[memoryview] = deque()
        self._paused = False
        self.waiting_bytes = 0

    def send(self, buffers: Iterable[memoryview | bytes]) -> None:
        """Take buffers to be written, in order."""
        for buffer in buffers:
            view = memoryview(buffer).cast("B")
            if view.nbytes:
                self._waiting.append(view)
                self.waiting_bytes += view.nbytes
        self._pump()

    def pause(self) -> None:
        """Take note that the transport wants nothing for now."""
        self._paused = True

    def resume(self) -> None:
        """Take note that the transport has room again."""
        self._paused = False
        self._pump()

    def clear(self) -> None:
        """Drop what waits."""
        self._waiting.clear()
        self.waiting_bytes = 0

    def _pump(self) -> None:
        while self._waiting and not self._paused:
            view = self._waiting.popleft()
            if view.nbytes > PIECE_BYTES:
                self._waiting.appendleft(view[PIECE_BYTES:])
                view = view[:PIECE_BYTES]
            self.waiting_bytes -= view.nbytes
            self._write(view)  # may pause us before it returns
