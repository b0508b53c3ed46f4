"""What a decision is made with, but for the link: both devices' profiles and drift, and the frames' size."""

from __future__ import annotations

import statistics
import time
from collections import deque
from dataclasses import dataclass, replace

from common.graph import ModelGraph
from common.partition.closed_sets import ClosedSets, enumerate_closed_sets
from common.partition.decide import Costs
from common.partition.frontier import Frontier
from common.plan import Cut
from common.profile import Profile
from edge_daemon.drift import Drift

FRAME_SIZES = 20
"""Frames whose median size is planned with."""
RESIZED = 0.05
"""The frontier is built anew when frames have grown or shrunk by this share."""


@dataclass(frozen=True, slots=True)
class Scales:
    """What the edge's and the cloud's profiled times are multiplied by, as the devices are now."""

    edge: float = 1.0
    cloud: float = 1.0

    def __str__(self) -> str:
        """Say which device is another than profiled, where that is worth a word; else nothing."""
        words = [
            f"{name} {scale:.1f} × as slow as profiled"
            for name, scale in (("the edge is", self.edge), ("the cloud is", self.cloud))
            if not 0.85 < scale < 1.15
        ]
        return ", ".join(words)


class CostModel:
    """Learns from profiles and from frames; gives the frontier, and what a cut costs."""

    def __init__(self, graph: ModelGraph) -> None:
        self._graph = graph
        self._edge: Profile | None = None
        self._cloud: Profile | None = None
        self._edge_drift, self._cloud_drift = Drift(), Drift()
        self._frame_sizes: deque[int] = deque(maxlen=FRAME_SIZES)
        self._sets: ClosedSets | None = None
        self._frontier: Frontier | None = None

    # --- what it learns ---------------------------------------------------------------------------------
    def set_profiles(self, edge: Profile | None, cloud: Profile | None) -> None:
        """Plan with these profiles from now on; none leaves the one there is."""
        if edge is not None:
            self._edge = edge
            self._edge_drift.forget()
        if cloud is not None:
            self._cloud = cloud
            self._cloud_drift.forget()
        self._frontier = None

    def saw_frame(self, nbytes: int) -> None:
        """Take note of a frame's size in bytes."""
        self._frame_sizes.append(nbytes)

    def saw_stages(self, cut: Cut, head_ms: float | None, tail_ms: float | None) -> None:
        """Take note of what a frame's stages under `cut` took; none where there was no such stage."""
        if self._edge is None or self._cloud is None:
            return
        costs = self.costs(cut)
        now = time.monotonic()
        if head_ms is not None:
            self._edge_drift.add(cut.label, head_ms, costs.edge_ms, self._edge.total_ms, now)
        if tail_ms is not None:
            self._cloud_drift.add(cut.label, tail_ms, costs.cloud_ms, self._cloud.total_ms, now)

    # --- what it knows ----------------------------------------------------------------------------------
    @property
    def complete(self) -> bool:
        """Whether both profiles are there; without them nothing below can be asked for."""
        return self._edge is not None and self._cloud is not None

    @property
    def scales(self) -> Scales:
        now = time.monotonic()
        return Scales(self._edge_drift.scale(now), self._cloud_drift.scale(now))

    def frontier(self) -> Frontier:
        """Return the frontier for frames of the present size, as profiled."""
        assert self._edge is not None
        assert self._cloud is not None
        source = self._graph.source
        if self._sets is None:
            self._sets = enumerate_closed_sets(self._graph)
        graph = self._sets.graph
        size = statistics.median(self._frame_sizes) if self._frame_sizes else graph[source].output_bytes
        if abs(size / max(graph[source].output_bytes, 1) - 1.0) > RESIZED:
            self._sets = replace(self._sets, graph=graph.with_output_bytes({source: int(size)}))
            self._frontier = None
        if self._frontier is None:
            self._frontier = Frontier.build(self._sets, self._edge.unit_ms, self._cloud.unit_ms)
        return self._frontier

    def costs(self, cut: Cut) -> Costs:
        """Return what `cut` costs, on the frontier or not, as profiled."""
        assert self._edge is not None
        assert self._cloud is not None
        graph = self._sets.graph if self._sets is not None else self._graph
        return Costs.of(graph, cut, self._edge.unit_ms, self._cloud.unit_ms)
