"""The cloud's metrics: stages and batch sizes as histograms, everything else read off the status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector

from cloud_daemon.frame_tally import Outcome, Served
from common.web.machine import machine_readings
from common.web.metric_table import Reading, Samples, at, each

BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
COUNTED_AT_ONCE = 256
"""Frames that are remembered until they are counted: one after another that is several times quicker than each by
itself between two frames, on the event loop of a cloud that has hundreds a second."""
BATCHES = (1, 2, 4, 8, 16, 32, 64)


def _edges(status: Mapping[str, Any]) -> Samples:
    return [((), len(status["edges"]))]


READINGS: tuple[Reading, ...] = (
    Reading("cleave_cloud_edges", "gauge", "Edges that are connected.", _edges),
    Reading("cleave_cloud_greeting", "gauge", "Connections that have not greeted yet.", at("greeting")),
    Reading(
        "cleave_cloud_frames_received_total", "counter", "Frames that edges sent.", at("frames", "received")
    ),
    Reading(
        "cleave_cloud_frames_total",
        "counter",
        "Frames that are done with, by what came of them. With cleave_cloud_frames_in_flight they add up to "
        "those received.",
        each("frames", only=map(str, Outcome)),
        ("outcome",),
    ),
    Reading("cleave_cloud_frames_in_flight", "gauge", "Frames that are here.", at("frames", "in_flight")),
    Reading("cleave_cloud_queue_frames", "gauge", "Frames that wait for their turn.", at("queue", "waiting")),
    Reading(
        "cleave_cloud_queue_places", "gauge", "Frames that can be here at a time.", at("queue", "places")
    ),
    Reading(
        "cleave_cloud_busy_seconds_total",
        "counter",
        "Time for which frames were computed: its rate is the load.",
        at("busy_s"),
    ),
    Reading(
        "cleave_cloud_received_bytes_total",
        "counter",
        "Bytes of crossing tensors, by what they were sent as.",
        each("received_bytes"),
        ("codec",),
    ),
    Reading(
        "cleave_cloud_receive_memory_bytes",
        "gauge",
        "Memory that tensors of frames occupy.",
        at("receive_memory", "held_bytes"),
    ),
    Reading(
        "cleave_cloud_receive_memory_limit_bytes",
        "gauge",
        "Memory that they may occupy.",
        at("receive_memory", "limit_bytes"),
    ),
    Reading(
        "cleave_cloud_gpu_memory_free_bytes",
        "gauge",
        "Free memory of the GPU; absent without one.",
        at("gpu", "free_bytes"),
    ),
    Reading(
        "cleave_cloud_gpu_memory_total_bytes",
        "gauge",
        "Memory of the GPU; absent without one.",
        at("gpu", "total_bytes"),
    ),
    Reading(
        "cleave_cloud_certificate_days",
        "gauge",
        "Days until this cloud's certificate ends; absent without TLS.",
        at("tls", "days_left"),
    ),
    *machine_readings("cleave_cloud"),
)


class CloudMetrics:
    """The histograms, as of the last `count`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(namespace="cleave_cloud", registry=self.registry)
        stages = Histogram(
            "cleave_cloud_stage_seconds",
            "Where answered frames' time went: coming in, waiting (for their batch's other frames, too), running.",
            ["stage"],
            buckets=BUCKETS_S,
            registry=self.registry,
        )
        self._receive, self._queue, self._tail = map(stages.labels, ("receive", "queue", "tail"))
        self._batch = Histogram(
            "cleave_cloud_batch_frames",
            "Frames that ran together, as each answered frame met it: of frames, not of batches.",
            buckets=BATCHES,
            registry=self.registry,
        )

        self._seen: list[Served] = []

    def saw(self, served: Served) -> None:
        """Take note of an answered frame."""
        self._seen.append(served)
        if len(self._seen) >= COUNTED_AT_ONCE:
            self.count()

    def count(self) -> None:
        """Count what was taken note of: before anybody reads."""
        for served in self._seen:
            self._receive.observe(served.receive_ms / 1e3)
            self._queue.observe(served.queue_ms / 1e3)
            self._tail.observe(served.run_ms / 1e3)
            self._batch.observe(served.batch)
        self._seen.clear()
