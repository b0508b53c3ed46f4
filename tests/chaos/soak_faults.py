"""The faults of a soak, drawn at random: what happens to which link or cloud, and for how long. Pure."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SETTLE_S = 5.0
"""So long after a fault's end frames are still counted as touched by it: the edge reconnects and prepares anew."""
GARBAGE_S = 0.5
"""Garbage at a cloud's port is there and gone."""

WEIGHTS: Mapping[str, int] = {
    "reset": 4,
    "silence": 3,
    "rate": 4,
    "delay": 3,
    "slices": 2,
    "garbage": 4,
    "kill": 1,
}
"""How often each kind is drawn, of all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is done at `at`, and undone `lasts_s` later. `target` is an edge's name, or a cloud's for garbage."""

    kind: str
    target: str
    at: float
    lasts_s: float = 0.0
    orders: tuple[str, ...] = ()
    undone: tuple[str, ...] = ()

    @property
    def span(self) -> tuple[float, float]:
        """From when until when frames may have met it."""
        return self.at, self.at + self.lasts_s + SETTLE_S


def draw_faults(
    rng: random.Random,
    *,
    begin: float,
    end: float,
    edges: Sequence[str],
    clouds: Sequence[str],
    mortal: str,
) -> list[Fault]:
    """Draw the faults of one period, in order; all have ended by `end`. Only the edge `mortal` is ever killed."""
    length_s = end - begin
    faults: list[Fault] = []
    busy = dict.fromkeys(edges, begin)
    at = begin
    while True:
        at += rng.uniform(0.02, 0.10) * length_s
        if at >= end:
            return faults
        kind = rng.choices([*WEIGHTS], weights=[*WEIGHTS.values()])[0]
        target = rng.choice(clouds) if kind == "garbage" else mortal if kind == "kill" else rng.choice(edges)
        fault = _fault(rng, kind, target, at, longest_s=end - at)
        if busy.get(target, begin) > at:
            continue  # what is still being done to it comes first
        if target in busy:
            busy[target] = at + fault.lasts_s
        faults.append(fault)


def _fault(rng: random.Random, kind: str, target: str, at: float, longest_s: float) -> Fault:
    orders: tuple[str, ...] = ()
    undone: tuple[str, ...] = ()
    lasts_s = 0.0
    match kind:
        case "reset":
            orders = ("reset",)
        case "silence":  # shorter and longer than a connection is given up after
            orders, undone, lasts_s = ("off",), ("on",), rng.uniform(1.0, 8.0)
        case "rate":
            orders, undone, lasts_s = (rng.choice(("1mbit", "5mbit", "20mbit")),), ("unlimited",), 6.0
        case "delay":
            delay_ms, jitter_ms = rng.uniform(5.0, 100.0), rng.uniform(0.0, 20.0)
            orders = (f"delay {delay_ms:.0f}", f"jitter {jitter_ms:.0f}")
            undone, lasts_s = ("delay 0", "jitter 0"), 6.0
        case "slices":
            orders, undone, lasts_s = ("slice 200",), ("slice 0",), 4.0
        case "garbage":
            lasts_s = GARBAGE_S
        case "kill":
            lasts_s = rng.uniform(0.0, 2.0)
    return Fault(
        kind=kind,
        target=target,
        at=at,
        lasts_s=min(lasts_s, longest_s),
        orders=orders,
        undone=undone,
    )
