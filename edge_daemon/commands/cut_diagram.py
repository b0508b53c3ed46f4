"""A model's units as a picture with a cut drawn in it, as plain SVG.

Units stand by their depth (the longest way from the frame), left to right and line by line like text; units of
one depth stand one above the other. What crosses the cut is drawn boldly.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from xml.sax.saxutils import escape

from common.graph import ModelGraph
from common.plan import Cut

COLUMNS = 10
_BOX_W, _BOX_H, _GAP_X, _GAP_Y, _MARGIN = 96, 26, 26, 12, 24
_EDGE, _CLOUD, _CROSSING = "#dbe8f6", "#f8e3d3", "#b03030"
_LONGEST = 15
"""Characters of a name that fit a box; the whole name is the box's title."""


@dataclass(frozen=True, slots=True)
class Box:
    """Where a unit stands: the upper left corner, in pixels, and the line of text it belongs to."""

    x: float
    y: float
    line: int

    @property
    def right(self) -> tuple[float, float]:
        return self.x + _BOX_W, self.y + _BOX_H / 2

    @property
    def left(self) -> tuple[float, float]:
        return self.x, self.y + _BOX_H / 2


def draw_cut(graph: ModelGraph, cut: Cut, title: str) -> str:
    """Return the picture of `graph` under `cut`."""
    boxes, height = _place(graph)
    width = 2 * _MARGIN + COLUMNS * (_BOX_W + _GAP_X)
    edge = set(cut.edge_units)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:.0f}" width="{width}" '
        f'height="{height:.0f}" font-family="sans-serif" font-size="11">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width}" height="{height:.0f}" fill="white"/>',
        f'<text x="{_MARGIN}" y="24" font-size="15">{escape(title)}</text>',
        _legend(),
    ]
    for unit in graph.units:
        for name in dict.fromkeys(unit.inputs):
            parts.append(_link(boxes[name], boxes[unit.name], name in edge and unit.name not in edge))
    for unit in graph.units:
        parts.append(_box(boxes[unit.name], unit.name, unit.output_bytes, unit.name in edge, cut))
    return "\n".join([*parts, "</svg>\n"])


def _place(graph: ModelGraph) -> tuple[dict[str, Box], float]:
    depth: dict[str, int] = {}
    for unit in graph.units:
        depth[unit.name] = 1 + max((depth[name] for name in unit.inputs), default=-1)
    levels: dict[int, list[str]] = defaultdict(list)
    for name, level in depth.items():
        levels[level].append(name)
    boxes: dict[str, Box] = {}
    top = 70.0
    for first in range(0, len(levels), COLUMNS):
        shown = [levels[level] for level in range(first, min(first + COLUMNS, len(levels)))]
        for column, names in enumerate(shown):
            for lane, name in enumerate(names):
                x = _MARGIN + column * (_BOX_W + _GAP_X)
                boxes[name] = Box(x, top + lane * (_BOX_H + _GAP_Y), first // COLUMNS)
        top += max(map(len, shown)) * (_BOX_H + _GAP_Y) + 2 * _GAP_Y
    return boxes, top + _MARGIN


def _link(start: Box, end: Box, crosses: bool) -> str:
    (x1, y1), (x2, y2) = start.right, end.left
    stroke = f'stroke="{_CROSSING}" stroke-width="2.5"' if crosses else 'stroke="#9a9a9a"'
    if start.line == end.line:
        bend = max((x2 - x1) / 2, 8.0)
        path = f"M{x1:.0f},{y1:.0f} C{x1 + bend:.0f},{y1:.0f} {x2 - bend:.0f},{y2:.0f} {x2:.0f},{y2:.0f}"
    else:  # to the next line, as a carriage returns
        between = end.y - _GAP_Y
        path = f"M{x1:.0f},{y1:.0f} h8 V{between:.0f} H{x2 - 8:.0f} V{y2:.0f} h8"
    return f'<path d="{path}" fill="none" {stroke}/>'


def _box(box: Box, name: str, output_bytes: int, on_edge: bool, cut: Cut) -> str:
    crossing = name in cut.crossing
    frame = f'stroke="{_CROSSING}" stroke-width="2.5"' if crossing else 'stroke="#777"'
    short = name if len(name) <= _LONGEST else "…" + name[1 - _LONGEST :]
    side = "on the edge" if on_edge else "in the cloud"
    size = f'<tspan fill="{_CROSSING}" font-weight="bold"> ↑</tspan>' if crossing else ""
    return (
        f"<g><title>{escape(name)}: {output_bytes:,} bytes out, {side}</title>"
        f'<rect x="{box.x:.0f}" y="{box.y:.0f}" width="{_BOX_W}" height="{_BOX_H}" rx="4" '
        f'fill="{_EDGE if on_edge else _CLOUD}" {frame}/>'
        f'<text x="{box.x + _BOX_W / 2:.0f}" y="{box.y + 17:.0f}" text-anchor="middle">'
        f"{escape(short)}{size}</text></g>"
    )


def _legend() -> str:
    parts = []
    for place, (colour, text) in enumerate(((_EDGE, "on the edge"), (_CLOUD, "in the cloud"))):
        x = _MARGIN + place * 130
        parts.append(
            f'<rect x="{x}" y="36" width="14" height="14" fill="{colour}" stroke="#777"/>'
            f'<text x="{x + 20}" y="48">{text}</text>'
        )
    parts.append(
        f'<path d="M{_MARGIN + 260},43 h26" stroke="{_CROSSING}" stroke-width="2.5"/>'
        f'<text x="{_MARGIN + 294}" y="48">crosses</text>'
    )
    return "".join(parts)
