"""A progress bar on stderr, with the time left: for terminals only."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

WIDTH = 30


class Progress:
    """Counts `total` steps of something. Use it as a context manager; it leaves nothing behind."""

    def __init__(self, total: int, what: str) -> None:
        self._total = max(total, 1)
        self._what = what
        self._done = 0
        self._started = time.monotonic()
        self._shown = sys.stderr is not None and sys.stderr.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    def advance(self) -> None:
        """Take note of one more step."""
        self._done += 1
        if self._shown:
            print(f"\r\033[K{self.line(time.monotonic())}", end="", file=sys.stderr, flush=True)

    def line(self, now: float) -> str:
        """Return the bar as text."""
        filled = WIDTH * self._done // self._total
        left_s = (now - self._started) / max(self._done, 1) * (self._total - self._done)
        bar = "█" * filled + "░" * (WIDTH - filled)
        return f"{bar} {self._done}/{self._total} {self._what}, {left_s:.0f} s left"
