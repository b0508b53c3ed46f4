"""What a peer that stops reading costs the others: turns with and without, and what is missed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from common import limits
from tests.chaos.steadiness import percentile

ROOM_BYTES = 16 * limits.MIB
"""Beyond the stated ceiling: what allocators and libraries keep."""
P99_BAR = 0.20


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What was seen while the peer did as one `reading` says ("all" reads everything)."""

    reading: str
    latencies_ms: tuple[float, ...]
    rss_before_bytes: int
    rss_peak_bytes: int
    cut_off: int = 0
    """Connections that were closed on the peer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One way of not reading against the turns around it in which all was read."""

    name: str
    growth_bytes: int
    ceiling_bytes: int
    p99_ms: tuple[float, float]
    frames: tuple[int, int]
    cut_off: int

    @property
    def p99_change(self) -> float:
        return self.p99_ms[1] / self.p99_ms[0] - 1.0

    def missed(self) -> list[str]:
        """Return what is missed, in words."""
        found = []
        if self.growth_bytes > self.ceiling_bytes + ROOM_BYTES:
            found.append(
                f"{self.name}: memory grew by {_mib(self.growth_bytes)}, the ceiling is {_mib(self.ceiling_bytes)} "
                f"and {_mib(ROOM_BYTES)} of room"
            )
        if self.p99_change > P99_BAR:
            found.append(f"{self.name}: the others' p99 changed by {self.p99_change:+.0%}")
        return found

    def line(self) -> str:
        """Write a row of `table`."""
        before, beside = self.p99_ms
        return (
            f"| {self.name} | {_mib(self.growth_bytes)} | {_mib(self.ceiling_bytes)} | {self.cut_off} "
            f"| {before:.2f} → {beside:.2f} ms ({self.p99_change:+.0%}) | {self.frames[0]:,} / {self.frames[1]:,} |"
        )


def ceiling_bytes(connections: int, answer_bytes: int, frame_bytes: int) -> int:
    """Return what a peer that reads nothing may cost a cloud, on so many connections.

    Each has `MAX_UNSENT_BYTES` of answers waiting at most, and the one that goes beyond ends it; frames that are here
    (`MAX_IN_FLIGHT`, and one coming in) are held with their results.
    """
    here = (limits.MAX_IN_FLIGHT + 1) * (frame_bytes + answer_bytes)
    return connections * (limits.MAX_UNSENT_BYTES + answer_bytes + here)


def compare(name: str, turns: Sequence[Turn], ceiling: int) -> Finding:
    """Compare the turns in which the peer read all with those in which it did not."""
    fair = [ms for turn in turns if turn.reading == "all" for ms in turn.latencies_ms]
    beside = [ms for turn in turns if turn.reading != "all" for ms in turn.latencies_ms]
    stopped = [turn for turn in turns if turn.reading != "all"]
    return Finding(
        name=name,
        growth_bytes=max(turn.rss_peak_bytes - turn.rss_before_bytes for turn in stopped),
        ceiling_bytes=ceiling,
        p99_ms=(percentile(fair, 0.99), percentile(beside, 0.99)),
        frames=(len(fair), len(beside)),
        cut_off=sum(turn.cut_off for turn in stopped),
    )


def table(findings: Sequence[Finding]) -> str:
    """Write findings as a Markdown table."""
    return "\n".join(
        [
            "| the peer | the cloud's memory grew by | ceiling | cut off | the others' p99 | frames |",
            "|---|---|---|---|---|---|",
            *(finding.line() for finding in findings),
        ]
    )


def _mib(nbytes: int) -> str:
    return f"{nbytes / limits.MIB:.1f} MiB"
