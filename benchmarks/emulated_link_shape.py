"""How an emulated link behaves, as a value, and the sizes that follow from it."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkShape:
    """How the link behaves now, the same in both directions.

    rate_bps: payload bits per second; None is unlimited, 0 cuts the link off and holds what is on it.
    delay_ms: one way, added to every byte (so a round trip takes twice as long).
    queue_bytes: the least that a lane may have waiting before its sender is held back.
    jitter_ms: by so much more or less each quantum is delayed, at random; none overtakes another.
    slow_close_ms: the end of a connection travels so much longer than its bytes.
    slice_bytes: bytes come in pieces of at most this size, with slice_gap_ms between two.
    limit_bytes: a connection that has sent more in one direction breaks.
    Raises ValueError for a number outside its range.
    """

    rate_bps: float | None = None
    delay_ms: float = 0.0
    queue_bytes: int = 16 * 1024
    jitter_ms: float = 0.0
    slow_close_ms: float = 0.0
    slice_bytes: int | None = None
    slice_gap_ms: float = 1.0
    limit_bytes: int | None = None

    def __post_init__(self) -> None:
        if self.rate_bps is not None and not (math.isfinite(self.rate_bps) and self.rate_bps >= 0):
            raise ValueError(f"rate_bps is None, 0 or a positive number, not {self.rate_bps}")
        for name in ("delay_ms", "jitter_ms", "slow_close_ms", "slice_gap_ms"):
            milliseconds = getattr(self, name)
            if not (math.isfinite(milliseconds) and milliseconds >= 0):
                raise ValueError(f"{name} is at least 0, not {milliseconds}")
        for name in ("queue_bytes", "slice_bytes", "limit_bytes"):
            n_bytes = getattr(self, name)
            if n_bytes is not None and n_bytes < 1:
                raise ValueError(f"{name} is at least 1, not {n_bytes}")

    @property
    def is_cut(self) -> bool:
        """Whether nothing passes."""
        return self.rate_bps == 0

    @property
    def delay_s(self) -> float:
        """The one-way delay in seconds."""
        return self.delay_ms / 1e3

    def seconds_for(self, n_bytes: float) -> float:
        """Say how long the bottleneck is busy with so many bytes."""
        gap_s = self.slice_gap_ms / 1e3 if self.slice_bytes is not None else 0.0
        if self.rate_bps is None:
            return gap_s
        return n_bytes * 8 / self.rate_bps + gap_s if self.rate_bps else math.inf

    def _bytes_in(self, seconds: float) -> int:
        # An unlimited link needs sizes too; two gigabits per second is about what one Python process forwards.
        rate_bps = 2e9 if self.rate_bps is None else self.rate_bps
        return int(rate_bps * seconds / 8)

    @property
    def quantum_bytes(self) -> int:
        """The turn of a lane: an Ethernet segment on slow links, about a millisecond's worth on faster ones.

        A turn of a millisecond is what a timer can place; above 33 Mbit/s more of them fit into one tick,
        and 4 KiB keeps lanes finely mixed at a bearable cost in Python.
        """
        turn = 64 * 1024 if self.rate_bps is None else min(max(self._bytes_in(0.001), 1448), 4096)
        return turn if self.slice_bytes is None else min(turn, self.slice_bytes)

    @property
    def waiting_limit_bytes(self) -> int:
        """What a lane may have waiting: enough that the bottleneck does not run dry between two ticks of a
        timer on a busy machine (8 ms), and no more, so that the sender feels the link's rate."""
        return max(self.queue_bytes, self._bytes_in(0.008))

    @property
    def flying_limit_bytes(self) -> int:
        """What a lane may have in flight: the bandwidth-delay product, 20 ms for late timers, and 64 KiB;
        it fills only where the receiver does not read."""
        return self._bytes_in(self.delay_s + 0.020) + 64 * 1024
