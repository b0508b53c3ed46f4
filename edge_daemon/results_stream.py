"""Results that go to standard output, a pipe or a device: each line once, also where a part was refused."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from edge_daemon.results_scan import Scan


class ResultsStream:
    """Standard output, a pipe or a device: what is written is gone, and no later run continues it.

    Nothing can be cut off here: a batch that is tried again goes on where the attempt before was broken off.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.name = str(path) if path is not None else "stdout"
        self.path: Path | None = None
        self.found = Scan()
        self._file = path.open("ab", buffering=0) if path is not None else None
        self._lines = b""
        """The batch that was begun and is not written yet."""
        self._left = b""
        """What is to be written of it."""
        self._torn = False
        """Whether what is left begins within a line."""

    def commit(self, lines: bytes) -> None:
        """Write whole lines. Raises `OSError`: then as much of them as was taken is not written again."""
        if lines != self._lines:
            # The one before was given up: the line that it was in is ended, or ours would be a part of it.
            self._left = rest_of_line(self._left, torn=self._torn) + lines
            self._lines = lines
        # Past Python's buffer, which would keep what a full disk refused, and write it again with the next attempt.
        descriptor = (self._file or sys.stdout).fileno()
        while self._left:
            taken = os.write(descriptor, self._left)
            self._torn = self._left[taken - 1 : taken] != b"\n"
            self._left = self._left[taken:]
        self._lines = b""

    def free_bytes(self) -> int | None:
        return None

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def rest_of_line(left: bytes, *, torn: bool) -> bytes:
    """Return what is missing of the line that was broken off before `left`, if it was (`torn`)."""
    return left[: left.index(b"\n") + 1] if torn else b""
