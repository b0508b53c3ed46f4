"""What a soak came to: rows for each daemon, and every bar that was missed. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.chaos.process_figures import Figures
from tests.chaos.steadiness import (
    Sample,
    Slope,
    Span,
    drift,
    percentile,
    slope_of,
    thirds,
    untouched,
    window_medians,
)

MIB = 1024 * 1024
WINDOW_S = 60.0
SLOPE_BAR_MIB_H = 1.0
DRIFT_BAR = 0.10
FEWEST_FRAMES = 500
"""In each third; the 99th percentile of fewer is the whim of a few frames."""
FEWEST_RESTS = 2
"""In each third."""


@dataclass(frozen=True, slots=True)
class Look:
    """Figures of a daemon at a moment of the run."""

    at: float
    pid: int
    figures: Figures


@dataclass(frozen=True, slots=True)
class Rest:
    """A daemon at a quiet moment: all are connected, nothing is on its way."""

    at: float
    descriptors: int
    tasks: Mapping[str, int]
    blocks: int
    """Of Python's small objects: what leaks shows here, without malloc's whims."""


@dataclass(frozen=True, slots=True)
class Latency:
    """From when until when a frame was at its edge, what that took as its record tells, and which way it went."""

    begun: float
    ended: float
    ms: float
    way: str


@dataclass(slots=True)
class Course:
    """All that was seen of one daemon."""

    looks: list[Look] = field(default_factory=list)
    rests: list[Rest] = field(default_factory=list)
    latencies: list[Latency] = field(default_factory=list)
    touched: list[Span] = field(default_factory=list)
    mortal: bool = False
    """It is killed on purpose: its memory begins anew each time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The figures of one daemon after the warm-up."""

    name: str
    rss_mib: float
    rss: Slope | None
    anonymous: Slope | None
    descriptors: tuple[float, float] | None
    tasks: tuple[float, float] | None
    blocks: tuple[float, float] | None
    threads: tuple[float, float]
    frames: int
    p99_ms: tuple[float, float] | None
    p99_drift: float | None

    def missed(self) -> list[str]:
        """Return what this daemon misses, in words."""
        found = []
        if self.rss is not None and self.rss.per_hour >= SLOPE_BAR_MIB_H:
            found.append(f"{self.name}: RSS grows by {self.rss.per_hour:.2f} MiB/h")
        for what, pair in (("descriptors", self.descriptors), ("tasks", self.tasks)):
            if pair is not None and pair[0] != pair[1]:
                found.append(f"{self.name}: {what} at rest from {pair[0]:g} to {pair[1]:g}")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class AllFrames:
    """The frames of all edges that no fault touched, each over the median of its edge's frames that went its way.

    One edge has too few for its 99th percentile to be known to a tenth; all together have four times as many. And an
    edge that decides by itself takes other ways after other faults: a dozen seconds on the edge alone are no drift.
    """

    frames: tuple[int, int]
    p99: tuple[float, float]
    drift: float

    def missed(self) -> list[str]:
        """Return what is missed, in words."""
        return [f"all edges: p99 drifts by {self.drift:+.0%}"] if self.drift >= DRIFT_BAR else []

    def line(self) -> str:
        """Say it in a sentence."""
        return (
            f"All edges' frames that no fault touched, each over its edge's median by that way: p99 "
            f"{self.p99[0]:.2f} in the first third ({self.frames[0]:,} frames), "
            f"{self.p99[1]:.2f} in the last ({self.frames[1]:,}): {self.drift:+.1%}."
        )


def all_frames(courses: Iterable[Course], after: float) -> AllFrames | None:
    """Judge the latencies of all edges together; none of too few frames."""
    pooled: list[Sample] = []
    for course in courses:
        ways: dict[str, list[Sample]] = {}
        for one in _fair(course, after):
            ways.setdefault(one.way, []).append((one.ended, one.ms))
        for samples in ways.values():
            median = statistics.median(ms for _, ms in samples)
            pooled += [(at, ms / median) for at, ms in samples]
    first, last = thirds(pooled)
    change = drift(first, last)
    if change is None or min(len(first), len(last)) < FEWEST_FRAMES:
        return None
    p99 = percentile(first, 0.99), percentile(last, 0.99)
    return AllFrames(frames=(len(first), len(last)), p99=p99, drift=change)


def _fair(course: Course, after: float) -> list[Latency]:
    """Return the frames that no fault touched."""
    return [
        one
        for one in course.latencies
        if one.ended >= after and untouched(one.begun, one.ended, course.touched)
    ]


def row_of(name: str, course: Course, after: float) -> Row:
    """Judge one daemon by what was seen of it after `after`."""
    looks = [look for look in course.looks if look.at >= after]
    rests = [rest for rest in course.rests if rest.at >= after]
    fair = [(one.ended, one.ms) for one in _fair(course, after)]
    first, last = thirds(fair)
    enough = min(len(first), len(last)) >= FEWEST_FRAMES
    return Row(
        name=name,
        rss_mib=statistics.median(look.figures.rss_bytes for look in looks) / MIB if looks else 0.0,
        rss=None if course.mortal else _slope((at.at, at.figures.rss_bytes) for at in looks),
        anonymous=None if course.mortal else _slope((at.at, at.figures.anonymous_bytes) for at in looks),
        descriptors=_ends([(rest.at, float(rest.descriptors)) for rest in rests]),
        tasks=_ends([(rest.at, float(sum(rest.tasks.values()))) for rest in rests]),
        blocks=_ends([(rest.at, float(rest.blocks)) for rest in rests]),
        threads=(_median_thread(looks[: len(looks) // 3]), _median_thread(looks[-(len(looks) // 3) :])),
        frames=len(fair),
        p99_ms=(percentile(first, 0.99), percentile(last, 0.99)) if enough else None,
        p99_drift=drift(first, last) if enough else None,
    )


def _slope(samples: Iterable[Sample]) -> Slope | None:
    return slope_of(((at, value / MIB) for at, value in samples), WINDOW_S)


def _ends(samples: Sequence[Sample]) -> tuple[float, float] | None:
    """Return the medians of the first and of the last third; none of too few."""
    first, last = thirds(samples)
    if min(len(first), len(last)) < FEWEST_RESTS:
        return None
    return statistics.median(first), statistics.median(last)


def _median_thread(looks: Sequence[Look]) -> float:
    return statistics.median(look.figures.threads for look in looks) if looks else 0.0


def table(rows: Sequence[Row]) -> str:
    """Write the rows as a Markdown table."""
    lines = [
        "| daemon | RSS, MiB | RSS slope, MiB/h (95%) | heap slope, MiB/h | descriptors | tasks "
        "| Python's blocks | threads | frames no fault touched | p99, ms | drift |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [
            row.name,
            f"{row.rss_mib:.0f}",
            _told(row.rss),
            _told(row.anonymous),
            _pair(row.descriptors),
            _pair(row.tasks),
            f"{row.blocks[0]:,.0f} → {row.blocks[1]:,.0f}" if row.blocks and row.rss else "–",
            _pair(row.threads),
            f"{row.frames:,}" if row.frames else "–",
            f"{row.p99_ms[0]:.1f} → {row.p99_ms[1]:.1f}" if row.p99_ms else "–",
            f"{row.p99_drift:+.1%}" if row.p99_drift is not None else "–",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _told(slope: Slope | None) -> str:
    return f"{slope.per_hour:+.2f} ({slope.low:+.2f} to {slope.high:+.2f})" if slope else "–"


def _pair(pair: tuple[float, float] | None) -> str:
    if pair is None:
        return "–"
    return f"{pair[0]:g}" if pair[0] == pair[1] else f"{pair[0]:g} → {pair[1]:g}"


def as_document(courses: Mapping[str, Course], rows: Sequence[Row]) -> dict[str, Any]:
    """Return rows and courses for a file: medians of windows, quiet moments."""
    return {
        "rows": [asdict(row) for row in rows],
        "rss_mib": {
            name: window_medians(((at.at, at.figures.rss_bytes / MIB) for at in course.looks), WINDOW_S)
            for name, course in courses.items()
        },
        "anonymous_mib": {
            name: window_medians(((at.at, at.figures.anonymous_bytes / MIB) for at in course.looks), WINDOW_S)
            for name, course in courses.items()
        },
        "pss_mib": {
            name: window_medians(((at.at, at.figures.pss_bytes / MIB) for at in course.looks), WINDOW_S)
            for name, course in courses.items()
        },
        "rests": {name: [asdict(rest) for rest in course.rests] for name, course in courses.items()},
    }
