"""When an adaptive edge has taken in a changed link: its estimate is right, and its plan stays."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from benchmarks.bench_bed import Bed
from benchmarks.pair import Edge

LOOKS = 2
"""Looks at the link in a row, each of which finds the estimate right and the same cut."""
NEAR = 1.25
"""An estimate is right within this factor of what iperf3 measured …"""
FAST_BPS = 200e6
"""… and on a link at least this fast also above it: frames arrive there faster than the cloud can tell."""
SETTLE_S = 40.0
"""Time allowed."""
LOGGED_S = 0.1
"""At most from the end of a measurement of the link until it is logged."""

Span = tuple[float, float]
"""From when until when, in Unix seconds."""


@dataclass(frozen=True, slots=True)
class Look:
    """What an edge's status said at one of its looks at the link."""

    written_at: float
    cut: str
    bandwidth_bps: float | None


def is_right(estimate_bps: float | None, carried_bps: float) -> bool:
    """Say whether an estimate fits what the link carries."""
    if estimate_bps is None or estimate_bps < carried_bps / NEAR:
        return False
    return estimate_bps <= carried_bps * NEAR or carried_bps >= FAST_BPS


def has_settled(looks: Sequence[Look], carried_bps: float) -> bool:
    """Say whether the last looks all found the estimate right, and the same cut."""
    last = looks[-LOOKS:]
    return (
        len(last) == LOOKS
        and all(is_right(look.bandwidth_bps, carried_bps) for look in last)
        and len({look.cut for look in last}) == 1
    )


async def settle(bed: Bed, edge: Edge, carried_bps: float, interval_s: float) -> float | None:
    """Send frames until the edge's plan stays; return how many seconds that took, none when it did not.

    `interval_s` is the edge's own between two looks; what it writes in between belongs to the look before.
    """
    began = time.monotonic()
    looks: list[Look] = []
    while time.monotonic() - began < SETTLE_S:
        await bed.run(edge, 1)
        look = look_at(edge)
        if looks and look.written_at - looks[-1].written_at < interval_s / 2:
            looks.pop()
        looks.append(look)
        if has_settled(looks, carried_bps):
            return time.monotonic() - began
    return None


def look_at(edge: Edge) -> Look:
    """Read an edge's status."""
    status = edge.status()
    mbit = status["link"]["bandwidth_mbit"]
    return Look(status["written_at"], status["plan"]["cut"], mbit * 1e6 if mbit else None)


def probes(edge: Edge) -> list[Span]:
    """Return when an edge measured the link, by iperf3 or a ping, from beginning to end in Unix seconds."""
    ends = (
        (datetime.fromisoformat(e["timestamp"]).timestamp(), e) for e in edge.logged("bandwidth measured")
    )
    return [(end - entry["seconds"] - LOGGED_S, end) for end, entry in ends]
