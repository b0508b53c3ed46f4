"""A chart over bandwidth as plain SVG: panels one above the other, all axes logarithmic.

Written out by hand: three curves and a grid are a page of code, and a plotting library would be the largest
dependency of an edge device that otherwise needs none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from common.quantities import format_bandwidth

_WIDTH, _PANEL_HEIGHT = 860, 300
_LEFT, _RIGHT, _TOP, _BETWEEN = 74, 110, 46, 52
_COLOURS = {"plan": "#1b5e9b", "edge only": "#c05a2b", "cloud only": "#4d8f4d"}
_OTHER_COLOUR = "#666666"

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Curve:
    """A named curve through (bandwidth in bit/s, value). What has no place on a logarithmic axis is left out."""

    name: str
    points: Points

    @property
    def drawable(self) -> list[tuple[float, float]]:
        return [(x, y) for x, y in self.points if x > 0 and 0 < y < math.inf]


@dataclass(frozen=True, slots=True)
class Panel:
    """One value over bandwidth; dashed lines at `boundaries` (bit/s). The last curve is drawn boldly."""

    title: str
    curves: Sequence[Curve]
    boundaries: Sequence[float]


@dataclass(frozen=True, slots=True)
class _Scale:
    """Maps a logarithmic range to pixels."""

    low: float
    high: float
    first_px: float
    last_px: float

    def __call__(self, value: float) -> float:
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.first_px + share * (self.last_px - self.first_px)

    @property
    def decades(self) -> list[float]:
        exponents = range(
            math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9) + 1
        )
        return [10.0**exponent for exponent in exponents]


def draw(title: str, panels: Sequence[Panel]) -> str:
    """Return the chart as an SVG document."""
    height = _TOP + len(panels) * (_PANEL_HEIGHT + _BETWEEN)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}" font-family="sans-serif" font-size="12">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        _text(_LEFT, 22, title, size=16),
    ]
    for place, panel in enumerate(panels):
        parts += _panel(panel, _TOP + place * (_PANEL_HEIGHT + _BETWEEN))
    return "\n".join([*parts, "</svg>\n"])


def _panel(panel: Panel, top: float) -> list[str]:
    points = [point for curve in panel.curves for point in curve.drawable]
    if not points:
        return [_text(_LEFT, top + 20, f"{panel.title}: nothing to draw, all values are zero or infinite")]
    bottom = top + _PANEL_HEIGHT
    x = _Scale(min(x for x, _ in points), max(x for x, _ in points), _LEFT, _WIDTH - _RIGHT)
    lowest, highest = min(y for _, y in points), max(y for _, y in points)
    y = _Scale(lowest / 1.25, highest * 1.25, bottom, top)
    parts = [_text(_LEFT, top - 6, panel.title)]
    for value in x.decades:
        parts.append(_line(x(value), top, x(value), bottom, "#e4e4e4"))
        parts.append(_text(x(value), bottom + 16, format_bandwidth(value), anchor="middle"))
    for value in _ticks(y):
        parts.append(_line(_LEFT, y(value), _WIDTH - _RIGHT, y(value), "#e4e4e4"))
        parts.append(_text(_LEFT - 6, y(value) + 4, f"{value:,g}", anchor="end"))
    for boundary in panel.boundaries:
        parts.append(_line(x(boundary), top, x(boundary), bottom, "#9a9a9a", dashed=True))
    label_at: list[float] = []
    for curve in panel.curves:
        if not curve.drawable:
            continue
        colour = _COLOURS.get(curve.name, _OTHER_COLOUR)
        path = " ".join(f"{x(bps):.1f},{y(value):.1f}" for bps, value in curve.drawable)
        width = 3 if curve is panel.curves[-1] else 1.5
        parts.append(
            f'<polyline points="{path}" fill="none" stroke={quoteattr(colour)} '
            f'stroke-width="{width}" stroke-linejoin="round"/>'
        )
        at = y(curve.drawable[-1][1])
        while any(abs(at - other) < 14 for other in label_at):
            at -= 14  # curves that end together keep legible names
        label_at.append(at)
        parts.append(_text(_WIDTH - _RIGHT + 8, at + 4, curve.name, colour=colour))
    parts.append(
        f'<rect x="{_LEFT}" y="{top}" width="{_WIDTH - _RIGHT - _LEFT}" height="{_PANEL_HEIGHT}" '
        'fill="none" stroke="#666666"/>'
    )
    return parts


def _ticks(scale: _Scale) -> list[float]:
    """Return powers of ten, with 2 and 5 between them where there are few."""
    decades = [scale.low, *scale.decades, scale.high]
    if len(decades) > 5:
        return scale.decades
    first, last = math.floor(math.log10(scale.low)), math.ceil(math.log10(scale.high))
    steps = [factor * 10.0**exponent for exponent in range(first, last + 1) for factor in (1, 2, 5)]
    return [step for step in steps if scale.low <= step <= scale.high]


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, *, dashed: bool = False) -> str:
    dashes = ' stroke-dasharray="3 4"' if dashed else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{dashes}/>'


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", colour: str = "#333333", size: int = 12
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" font-size="{size}">'
        f"{escape(text)}</text>"
    )
