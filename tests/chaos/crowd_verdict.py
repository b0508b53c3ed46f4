"""What a crowd at one cloud came to: who was served, who starved, who was lost. Pure."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

LEAST_SHARE = 0.5
"""Of the mean: an active edge that gets less is starved."""
LONGEST_GAP_S = 5.0
"""Without any answer, an active edge is starved."""
MOST_ARRIVAL_S = 30.0
"""Until all are in, though all come at once."""
MOST_NEWCOMER_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What one active edge got."""

    answers: int
    busy: int
    failed: int
    unanswered: int
    """Frames that were neither answered nor told Busy in the end."""
    longest_gap_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """All that was seen."""

    seconds: float
    active: tuple[Served, ...]
    idle: int
    idle_lost: int
    arrival_s: float
    attempts: int
    """To connect, of all edges together."""
    newcomer_s: float | None
    descriptors: tuple[int, int]
    """Of the cloud, before the crowd and with it."""
    rss_mib: tuple[float, float, float]
    """Of the cloud: before the crowd, with it, and at the most."""

    @property
    def least_share(self) -> float:
        mean = statistics.fmean(one.answers for one in self.active)
        return min(one.answers for one in self.active) / mean if mean else 0.0

    @property
    def longest_gap_s(self) -> float:
        return max(one.longest_gap_s for one in self.active)

    def missed(self) -> list[str]:
        """Return what is missed, in words."""
        found = []
        if self.least_share < LEAST_SHARE:
            found.append(f"an edge got {self.least_share:.2f} of what they get in the mean")
        if self.longest_gap_s > LONGEST_GAP_S:
            found.append(f"an edge had no answer for {self.longest_gap_s:.1f} s")
        for what, count in (
            ("failed", sum(one.failed for one in self.active)),
            ("were neither answered nor told Busy", sum(one.unanswered for one in self.active)),
        ):
            if count:
                found.append(f"{count} frames {what}")
        if self.idle_lost:
            found.append(f"{self.idle_lost} of {self.idle} idle edges were lost")
        if self.arrival_s > MOST_ARRIVAL_S:
            found.append(f"it took {self.arrival_s:.1f} s until all were in")
        if self.newcomer_s is None or self.newcomer_s > MOST_NEWCOMER_S:
            found.append(f"a newcomer did not get in and served in time ({self.newcomer_s} s)")
        return found

    def report(self) -> str:
        """Write a Markdown table."""
        answers = [one.answers for one in self.active]
        sent = sum(one.answers + one.busy for one in self.active)
        busy = sum(one.busy for one in self.active)
        edges = len(self.active) + self.idle
        rows = (
            (
                f"all {edges} connect at once",
                f"all in after {self.arrival_s:.1f} s, {self.attempts} attempts",
            ),
            (
                f"{len(self.active)} active, for {self.seconds:g} s",
                f"{sum(answers) / self.seconds:.0f} answers/s; {busy:,} of {sent:,} frames told Busy",
            ),
            (
                "answers of an edge: least, mean, most",
                f"{min(answers)}, {statistics.fmean(answers):.0f}, {max(answers)}",
            ),
            ("the least served, against the mean", f"{self.least_share:.2f}"),
            ("longest time without an answer", f"{self.longest_gap_s:.2f} s"),
            (f"{self.idle} idle", f"{self.idle_lost} lost"),
            (
                "a newcomer, from connecting to its first answer",
                f"{self.newcomer_s:.2f} s" if self.newcomer_s is not None else "never",
            ),
            ("the cloud's descriptors", f"{self.descriptors[0]} → {self.descriptors[1]}"),
            (
                "the cloud's memory",
                f"{self.rss_mib[0]:.0f} → {self.rss_mib[1]:.0f} MiB, {self.rss_mib[2]:.0f} MiB at the most",
            ),
        )
        return "\n".join(["| | |", "|---|---|", *(f"| {what} | {told} |" for what, told in rows)])
