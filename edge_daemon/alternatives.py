"""What the cuts that are not in force would take now: for whoever watches, and to hold predictions to account."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from common.partition.decide import Conditions
from common.partition.frontier import Frontier
from common.plan import Cut, Prediction

MOST = 16
"""Cuts that are told of, beside the two ends."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """A cut, and what a frame under it is predicted to take, in ms."""

    cut: str
    prediction: Prediction

    def to_status(self) -> dict[str, Any]:
        """Return what the status says of it, in ms."""
        predicted = self.prediction
        times = {"edge": predicted.edge_ms, "link": predicted.link_ms, "cloud": predicted.cloud_ms}
        rounded = {name: round(ms, 2) for name, ms in {**times, "latency": predicted.latency_ms}.items()}
        return {"cut": self.cut, "ms": rounded}


def alternatives(frontier: Frontier, conditions: Conditions, most: int = MOST) -> tuple[Alternative, ...]:
    """Return the cuts of least predicted latency, `most` at most, and both ends; the best first."""
    times = conditions.times(frontier.edge_ms, frontier.payload_bytes, frontier.cloud_ms, frontier.edge_only)
    graph = frontier.sets.graph
    ends = {frontier.find(Cut.edge_only(graph)), frontier.find(Cut.cloud_only(graph))}
    order = np.argsort(times.latency_ms, kind="stable")
    told = [int(entry) for place, entry in enumerate(order) if place < most or int(entry) in ends]
    return tuple(Alternative(frontier.cut(entry).label, times.prediction(entry)) for entry in told)
