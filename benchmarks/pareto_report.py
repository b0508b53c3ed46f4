"""What a ParetoPipe experiment found: a picture for each link, and how far the predictions were off."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from benchmarks.pareto_points import Point, front
from common.partition.decide import Conditions, choose
from common.partition.frontier import Frontier
from common.quantities import format_bandwidth

_WIDTH, _HEIGHT = 900, 560
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 40, 60, 60
LABELS = 8
"""Cuts of the front that are labelled at most; more would lie on each other."""
WITHIN = 0.15
"""A prediction that is off by less counts as right."""


def write_pictures(points: Sequence[Point], frontier: Frontier, out: Path) -> list[Path]:
    """Draw latency against throughput for each link, as SVG files in `out`."""
    paths = []
    for rate_bps, delay_ms in sorted({(p.rate_bps, p.delay_ms) for p in points}):
        here = [p for p in points if (p.rate_bps, p.delay_ms) == (rate_bps, delay_ms)]
        conditions = Conditions(bandwidth_bps=rate_bps, rtt_ms=2 * delay_ms, rate_fps=1e-9)
        drain = Conditions(bandwidth_bps=rate_bps, rtt_ms=2 * delay_ms)
        chosen = {
            "planned for latency": frontier.cut(choose(frontier, conditions).entry).label,
            "planned for throughput": frontier.cut(choose(frontier, drain).entry).label,
        }
        path = out / f"front-{rate_bps / 1e6:g}mbit-{delay_ms:g}ms.svg"
        title = f"{here[0].model}: {format_bandwidth(rate_bps)}, {delay_ms:g} ms each way"
        path.write_text(draw_front(title, here, chosen), encoding="utf-8")
        paths.append(path)
    return paths


def write_summary(points: Sequence[Point], out: Path) -> str:
    """Write and return how the predictions compare with what was measured."""
    lines = [
        f"{len(points)} points, {len({(p.rate_bps, p.delay_ms) for p in points})} links",
        _line("latency", [p.predicted_latency_ms / p.latency_ms - 1 for p in points]),
        _line("throughput", [p.predicted_fps / p.fps - 1 for p in points]),
        _line(
            "latency, from the profiles as taken,", [p.profiled_latency_ms / p.latency_ms - 1 for p in points]
        ),
        _line("throughput, from the profiles as taken,", [p.profiled_fps / p.fps - 1 for p in points]),
        f"points with frames that fell back to the edge: {sum(p.fallbacks > 0 for p in points)}",
    ]
    text = "\n".join(lines) + "\n"
    (out / "summary.txt").write_text(text, encoding="utf-8")
    return text


def _line(what: str, errors: Sequence[float]) -> str:
    within = sum(abs(error) <= WITHIN for error in errors) / len(errors)
    return (
        f"{what} predicted within {WITHIN:.0%}: {within:.1%} of the points; "
        f"median error {statistics.median(errors):+.1%}, worst {max(errors, key=abs):+.1%}"
    )


def draw_front(title: str, points: Sequence[Point], chosen: dict[str, str]) -> str:
    """Return the picture of one link: every cut a dot, the front a line with its cuts named.

    `chosen` maps a legend to the cut that the planner takes; these are ringed.
    """
    best = front(points)
    x = _scale([p.latency_ms for p in points], _LEFT, _WIDTH - _RIGHT)
    y = _scale([p.fps for p in points], _HEIGHT - _BOTTOM, _TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" '
        f'height="{_HEIGHT}" font-family="sans-serif" font-size="12">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<text x="{_LEFT}" y="26" font-size="16">{escape(title)}</text>',
        *_axes(x, y, points),
    ]
    for p in points:
        left, right = x(p.latency_least_ms), x(p.latency_most_ms)
        parts.append(
            f'<line x1="{left:.1f}" y1="{y(p.fps):.1f}" x2="{right:.1f}" y2="{y(p.fps):.1f}" stroke="#cccccc"/>'
            f'<circle cx="{x(p.latency_ms):.1f}" cy="{y(p.fps):.1f}" r="3.5" fill="#8a9bb0">'
            f"<title>{escape(p.cut)}: {p.latency_ms:.0f} ms, {p.fps:.1f} frames/s</title></circle>"
        )
    path = " ".join(f"{x(p.latency_ms):.1f},{y(p.fps):.1f}" for p in best)
    parts.append(f'<polyline points="{path}" fill="none" stroke="#1b5e9b" stroke-width="2"/>')
    parts += _labels(x, y, best, points)
    for (legend, cut), colour in zip(chosen.items(), ("#c05a2b", "#4d8f4d"), strict=True):
        for p in points:
            if p.cut == cut:
                radius = 8 if colour == "#c05a2b" else 11
                parts.append(
                    f'<circle cx="{x(p.latency_ms):.1f}" cy="{y(p.fps):.1f}" r="{radius}" fill="none" '
                    f'stroke="{colour}" stroke-width="2"><title>{escape(legend)}</title></circle>'
                )
    for place, (legend, cut) in enumerate(chosen.items()):
        colour = ("#c05a2b", "#4d8f4d")[place]
        parts.append(
            f'<text x="{_LEFT + place * 400}" y="46" fill="{colour}">○ {escape(legend)}: {escape(cut)}</text>'
        )
    return "\n".join([*parts, "</svg>\n"])


class _Scale:
    """A logarithmic range of values on pixels, with some room at both ends."""

    def __init__(self, low: float, high: float, first_px: float, last_px: float) -> None:
        self.low, self.high = low, high
        self._first, self._last = first_px, last_px

    def __call__(self, value: float) -> float:
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self._first + share * (self._last - self._first)

    @property
    def ticks(self) -> list[float]:
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        steps = [factor * 10.0**power for power in range(first, last + 1) for factor in (1, 2, 5)]
        return [step for step in steps if self.low <= step <= self.high]


def _scale(values: Sequence[float], first_px: float, last_px: float) -> _Scale:
    return _Scale(min(values) / 1.15, max(values) * 1.15, first_px, last_px)


def _axes(x: _Scale, y: _Scale, points: Sequence[Point]) -> list[str]:
    parts = []
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    for value in x.ticks:
        parts.append(
            f'<line x1="{x(value):.1f}" y1="{_TOP}" x2="{x(value):.1f}" y2="{bottom}" stroke="#e8e8e8"/>'
            f'<text x="{x(value):.1f}" y="{bottom + 16}" text-anchor="middle">{value:g}</text>'
        )
    for value in y.ticks:
        parts.append(
            f'<line x1="{_LEFT}" y1="{y(value):.1f}" x2="{right}" y2="{y(value):.1f}" stroke="#e8e8e8"/>'
            f'<text x="{_LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>'
        )
    middle = (_LEFT + right) / 2
    parts.append(
        f'<text x="{middle}" y="{_HEIGHT - 18}" text-anchor="middle">latency, one frame in flight (ms)</text>'
        f'<text x="18" y="{(_TOP + bottom) / 2}" text-anchor="middle" '
        f'transform="rotate(-90 18 {(_TOP + bottom) / 2})">throughput, saturated (frames/s)</text>'
        f'<rect x="{_LEFT}" y="{_TOP}" width="{right - _LEFT}" height="{bottom - _TOP}" fill="none" stroke="#666"/>'
    )
    return parts


def _labels(x: _Scale, y: _Scale, best: Sequence[Point], points: Sequence[Point]) -> list[str]:
    """Name the front's cuts, the two ends, and nothing that would lie on another name."""
    ends = [p for p in points if p.cut in ("edge-only", "cloud-only")]
    step = max(1, math.ceil(len(best) / LABELS))
    parts: list[str] = []
    taken: list[tuple[float, float]] = []
    for p in [*ends, *best[::step], best[-1]]:
        at = (x(p.latency_ms), y(p.fps))
        if any(abs(at[0] - other[0]) < 150 and abs(at[1] - other[1]) < 13 for other in taken):
            continue
        taken.append(at)
        anchor, shift = ("end", -8) if at[0] > _WIDTH * 0.7 else ("start", 8)
        parts.append(
            f'<text x="{at[0] + shift:.1f}" y="{at[1] - 6:.1f}" text-anchor="{anchor}" fill="#333">'
            f"{escape(p.cut)}</text>"
        )
    return parts
