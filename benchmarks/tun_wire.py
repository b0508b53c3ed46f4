"""One direction of a link for whole packets, as a pure function of time.

    packet ─► queue (drop tail) ─► bottleneck (rate) ─► flight (delay) ─► lands
                  waits               is sent

Packets leave back to back: each begins when the one before it has been sent, and none earlier. So one number, the
time at which the bottleneck will be free, says how long a new packet waits, how full the queue is, and when the
packet lands. Nothing here reads a clock or a device: times are arguments, in seconds, of one monotonic clock.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from benchmarks.network_namespaces import QUEUE_MS

QUEUE_LEAST_BYTES = 16 * 1024
"""What the queue holds beyond `QUEUE_MS` at the rate, as tbf's does (its burst): at 1 Mbit/s 50 ms are four packets,
too few for TCP to keep the link busy while it finds out about a loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WireShape:
    """How a direction behaves now.

    rate_bps: bits per second of IP packets, headers included.
    delay_ms: one way, beside waiting and sending.
    Raises ValueError for a number outside its range.
    """

    rate_bps: float
    delay_ms: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.rate_bps) and self.rate_bps > 0):
            raise ValueError(f"rate_bps is a positive number, not {self.rate_bps}")
        if not (math.isfinite(self.delay_ms) and self.delay_ms >= 0):
            raise ValueError(f"delay_ms is at least 0, not {self.delay_ms}")

    @property
    def queue_bytes(self) -> int:
        """The most that may wait and be sent at a time; what is beyond it is dropped."""
        return int(self.rate_bps / 8 * QUEUE_MS / 1e3) + QUEUE_LEAST_BYTES

    def seconds_for(self, n_bytes: float) -> float:
        """Say how long the bottleneck is busy with so many bytes."""
        return n_bytes * 8 / self.rate_bps


class PacketWire:
    """One direction: packets that wait or fly, and when each lands."""

    def __init__(self, shape: WireShape) -> None:
        self._shape = shape
        self._packets: deque[tuple[float, float, bytes]] = deque()  # (sent at, lands at, packet), in order
        self._free_s = -math.inf  # when the bottleneck will have sent all of them
        self.dropped = 0

    @property
    def shape(self) -> WireShape:
        """How the wire behaves now."""
        return self._shape

    def backlog_bytes(self, now_s: float) -> float:
        """Say how much waits or is being sent."""
        return max(0.0, self._free_s - now_s) * self._shape.rate_bps / 8

    def offer(self, packet: bytes, now_s: float) -> bool:
        """Queue a packet; return whether there was room for it, or it was dropped."""
        if self.backlog_bytes(now_s) + len(packet) > self._shape.queue_bytes:
            self.dropped += 1
            return False
        self._free_s = max(self._free_s, now_s) + self._shape.seconds_for(len(packet))
        self._append(self._free_s, packet)
        return True

    def landed(self, now_s: float) -> list[bytes]:
        """Remove what has landed by now, in its order."""
        packets = []
        while self._packets and self._packets[0][1] <= now_s:
            packets.append(self._packets.popleft()[2])
        return packets

    def wake_s(self) -> float | None:
        """Say when the next packet lands; None if there is none."""
        return self._packets[0][1] if self._packets else None

    def reshape(self, shape: WireShape, now_s: float) -> None:
        """Change the behaviour at once: what has not been sent yet takes as long as the new rate says.

        What is already in flight keeps its time of landing, and nothing overtakes it. What waits beyond a smaller
        queue stays.
        """
        stretch = self._shape.rate_bps / shape.rate_bps
        before, self._packets, self._shape = self._packets, deque(), shape
        for sent_s, lands_s, packet in before:
            if sent_s <= now_s:
                self._packets.append((sent_s, lands_s, packet))
            else:
                self._append(now_s + (sent_s - now_s) * stretch, packet)
        self._free_s = now_s + max(0.0, self._free_s - now_s) * stretch

    def _append(self, sent_s: float, packet: bytes) -> None:
        lands_s = sent_s + self._shape.delay_ms / 1e3
        if self._packets:  # a delay that was shortened must not let packets overtake earlier ones
            lands_s = max(lands_s, self._packets[-1][1])
        self._packets.append((sent_s, lands_s, packet))
