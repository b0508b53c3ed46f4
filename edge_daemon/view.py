"""What the edge shows of itself: its parts' state gathered into one status, and what a page needs beside it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry

from common.graph import ModelGraph
from common.tls.identity import Identity, describe, tls_status
from common.web.machine import Machine
from common.web.metric_table import registry_of
from common.web.view import Health
from edge_daemon.cloud_load import CloudLoad
from edge_daemon.config import EdgeSettings
from edge_daemon.controller import Controller
from edge_daemon.fidelity import Fidelity
from edge_daemon.frame_counts import FrameLedger
from edge_daemon.history import History
from edge_daemon.latest_frame import LatestFrame
from edge_daemon.link_estimate import LinkEstimate
from edge_daemon.metrics import READINGS, EdgeMetrics
from edge_daemon.pipeline import FramePipeline
from edge_daemon.rate_adapter import RateAdapter
from edge_daemon.results import FrameRecord
from edge_daemon.results_writer import ResultsWriter
from edge_daemon.sinks.sinks import Sinks
from edge_daemon.sources import FrameSource, delivery_of
from edge_daemon.status import EdgeState, LinkState, status_document
from edge_daemon.uplink import Uplink
from models.compute import ComputeThread
from models.executor import Executor
from models.model import Model
from models.watchdog import alive

LATE_S = 2
"""The page's curves are told again for so many seconds back: the second that ran when they were told is whole now."""


class EdgeView:
    """Reads the edge's parts when it is asked to; until then it only notes each frame."""

    def __init__(
        self,
        *,
        settings: EdgeSettings,
        identity: Identity | None,
        model: Model,
        executor: Executor,
        compute: ComputeThread,
        uplink: Uplink,
        estimate: LinkEstimate,
        load: CloudLoad,
        controller: Controller,
        fidelity: Fidelity,
        ledger: FrameLedger,
        pipeline: FramePipeline,
        results: ResultsWriter,
        source: FrameSource,
        rate: RateAdapter,
        sinks: Sinks,
    ) -> None:
        self._settings = settings
        self._identity = identity
        self._model = model
        self._executor = executor
        self._compute = compute
        self._uplink = uplink
        self._estimate = estimate
        self._load = load
        self._controller = controller
        self._fidelity = fidelity
        self._ledger = ledger
        self._pipeline = pipeline
        self._results = results
        self._source = source
        self._rate = rate
        self._sinks = sinks
        self._metrics = EdgeMetrics()
        self._history = History()
        self._latest = LatestFrame()
        self._machine = Machine()
        self._told_frames = 0
        self._told_until = 0

    def saw(self, record: FrameRecord) -> None:
        """Take note of a frame's record."""
        self._metrics.saw(record)
        self._history.saw(record)
        self._latest.saw(record)

    # --- what the server asks ---------------------------------------------------------------------------
    def status(self) -> dict[str, Any]:
        return status_document(self._state(time.time()))

    def alive(self) -> Health:
        return alive(self._compute, self._settings.hung_after_s)

    def ready(self) -> Health:
        """Say whether frames can be answered: one whole inference is done.

        A full disk under the results is no reason against it: it is in the status, and nothing else could serve.
        """
        if self._controller.started:
            return Health(True, "ready")
        return Health(False, "the first inference is not done yet")

    async def refresh(self) -> None:
        await self._machine.refresh()

    async def picture(self, frame: int | None) -> bytes | None:
        return await self._latest.picture(frame)

    @property
    def registry(self) -> CollectorRegistry:
        return self._metrics.registry

    def metrics(self, status: Mapping[str, Any]) -> CollectorRegistry:
        return registry_of(READINGS, status)

    def first(self) -> dict[str, Any]:
        self._latest.tell()
        self._note_bandwidth()
        return {
            "graph": graph_document(self._model.graph),
            "latencies": self._history.latencies(),
            "bandwidths": self._history.bandwidths(),
            "switches": [switch.to_status() for switch in self._controller.switches.latest],
            "frames": [frame.to_page() for frame in self._history.frames],
            **self._now(),
        }

    def news(self) -> dict[str, Any]:
        self._latest.tell()
        self._note_bandwidth()
        since, self._told_until = self._told_until - LATE_S, int(time.time())
        seen, self._told_frames = self._told_frames, self._history.seen
        latest = self._controller.switches.latest
        return {
            "latencies": self._history.latencies(since),
            "bandwidths": self._history.bandwidths(since),
            "switches": [switch.to_status() for switch in latest if switch.at >= since],
            "frames": [frame.to_page() for frame in self._history.new_frames(seen)],
            **self._now(),
        }

    # --- what it gathers --------------------------------------------------------------------------------
    def note_plan(self) -> None:
        """Take note that the controller has looked at link and load."""
        self._note_bandwidth()

    def _note_bandwidth(self) -> None:
        self._history.saw_bandwidth(
            time.time(), self._estimate.bandwidth_bps if self._uplink.available else None
        )

    def _now(self) -> dict[str, Any]:
        """Return what changes with the plan: which units are on the edge, by their places in the graph."""
        cut = self._controller.active.plan.cut
        index = self._model.graph.index
        return {
            "now": time.time(),
            "edge_units": [index[name] for name in cut.edge_units],
            "crossing": [index[name] for name in cut.crossing],
        }

    def _state(self, now: float) -> EdgeState:
        return EdgeState(
            written_at=now,
            model=self._model.name,
            weights=self._model.weights,
            device=self._executor.device_description,
            executor=self._executor.name,
            settings=self._settings,
            link=LinkState(
                available=self._uplink.available,
                session=self._uplink.cloud.session if self._uplink.cloud else None,
                counts=self._uplink.counts,
                bandwidth_bps=self._estimate.bandwidth_bps,
                measured_by=self._estimate.origin,
                rtt_ms=self._estimate.rtt_ms,
                last_error=self._uplink.last_error,
                channel=describe(self._identity),
                tls=tls_status(self._identity, now),
            ),
            plan=self._controller.active.plan,
            alternatives=self._controller.alternatives,
            cloud_wait_ms=self._load.wait_ms(time.monotonic()),
            profiled=self._controller.has_profiles,
            cuts_to_measure=self._controller.cuts_to_measure,
            scales=self._controller.scales,
            fidelity=self._fidelity,
            frames=self._ledger.counts,
            finished_on_edge=self._pipeline.let_down,
            sent_bytes=self._pipeline.sent_bytes,
            source=self._source.state,
            sampling=self._rate.sampling,
            delivery=delivery_of(self._settings),
            trouble=self._results.trouble,
            sinks=self._sinks.status(),
            switches=self._controller.switches,
            recent=self._history.recent(),
            latest=self._latest.status(),
            process=self._machine.status(),
        )


def graph_document(graph: ModelGraph) -> list[dict[str, Any]]:
    """Return the units as a picture needs them: name, inputs by place, bytes out."""
    return [
        {
            "name": unit.name,
            "inputs": [graph.index[name] for name in dict.fromkeys(unit.inputs)],
            "bytes": unit.output_bytes,
        }
        for unit in graph.units
    ]
