"""The edge's metrics: how long stages take as histograms, everything else read off the status."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector

from common.plan import Cause, Mode
from common.web.machine import machine_readings
from common.web.metric_table import Document, Reading, Samples, at, each, one_of
from edge_daemon.frame_counts import ON_THE_WAY
from edge_daemon.results import FrameRecord
from edge_daemon.source_state import SourceCondition

BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
STAGES = ("queue", "head", "encode", "link", "cloud_queue", "tail")
RAN = ("edge", "cloud", "split", "edge after cloud", "nowhere")


def _of_sinks(name: str) -> Callable[[Document], Samples]:
    return lambda status: [((sink["name"],), sink[name]) for sink in status["sinks"]]


def _crossing(status: Document) -> Samples:
    return [((), len(status["plan"]["crossing"]))]


READINGS: tuple[Reading, ...] = (
    Reading(
        "cleave_edge_frames_seen_total", "counter", "Frames that the source found.", at("frames", "seen")
    ),
    Reading(
        "cleave_edge_frames_total",
        "counter",
        "Frames that are done with, by what came of them. With cleave_edge_frames_now they add up to those seen.",
        each("frames", but=("seen", *ON_THE_WAY)),
        ("outcome",),
    ),
    Reading(
        "cleave_edge_frames_now",
        "gauge",
        "Frames on their way, by where they are.",
        each("frames", only=ON_THE_WAY),
        ("place",),
    ),
    Reading(
        "cleave_edge_finished_on_edge_total",
        "counter",
        "Frames that the edge finished because the cloud let them down, by cause.",
        each("finished_on_edge"),
        ("cause",),
    ),
    Reading(
        "cleave_edge_sent_bytes_total",
        "counter",
        "Bytes of crossing tensors handed to the link, by what they were sent as.",
        each("sent_bytes"),
        ("codec",),
    ),
    Reading(
        "cleave_edge_bandwidth_bits_per_second",
        "gauge",
        "What the link is believed to carry upwards; absent while unknown.",
        at("link", "bandwidth_mbit", times=1e6),
    ),
    Reading(
        "cleave_edge_round_trip_seconds",
        "gauge",
        "Round trip of a small message; 0 while unknown.",
        at("link", "rtt_ms", times=1e-3),
    ),
    Reading(
        "cleave_edge_link_up", "gauge", "1 while frames may be sent to the cloud.", at("link", "available")
    ),
    Reading(
        "cleave_edge_connections_total",
        "counter",
        "Connections made to the cloud.",
        at("link", "connections"),
    ),
    Reading(
        "cleave_edge_suspicions_total",
        "counter",
        "Times the line was suspected to be down.",
        at("link", "suspicions"),
    ),
    Reading(
        "cleave_edge_stale_answers_total",
        "counter",
        "Answers that nobody waited for any more.",
        at("stale_answers"),
    ),
    Reading(
        "cleave_edge_certificate_days",
        "gauge",
        "Days until this edge's certificate ends; absent without TLS.",
        at("link", "tls", "days_left"),
    ),
    Reading("cleave_edge_plan_epoch", "gauge", "Number of the plan in force.", at("plan", "epoch")),
    Reading(
        "cleave_edge_plan_mode",
        "gauge",
        "1 for the problem that the plan in force solves.",
        one_of("plan", "mode", values=map(str, Mode)),
        ("mode",),
    ),
    Reading(
        "cleave_edge_plan_edge_units",
        "gauge",
        "Units of the model that run on the edge.",
        at("plan", "units", "edge"),
    ),
    Reading(
        "cleave_edge_plan_cloud_units",
        "gauge",
        "Units of the model that run in the cloud.",
        at("plan", "units", "cloud"),
    ),
    Reading("cleave_edge_plan_crossing_tensors", "gauge", "Tensors that cross the cut.", _crossing),
    Reading(
        "cleave_edge_plan_predicted_seconds",
        "gauge",
        "Predicted time from frame to answer; absent without a prediction.",
        at("plan", "predicted_latency_ms", times=1e-3),
    ),
    Reading(
        "cleave_edge_plan_sustainable_fps",
        "gauge",
        "Frames per second that the plan in force can keep up; absent while unknown.",
        at("plan", "sustainable_fps"),
    ),
    Reading(
        "cleave_edge_switches_total",
        "counter",
        "Changes of the plan, by why.",
        each("switches_by_cause", only=map(str, Cause)),
        ("cause",),
    ),
    Reading(
        "cleave_edge_cloud_wait_seconds",
        "gauge",
        "How long other edges' frames hold one of this edge up in the cloud.",
        at("cloud_wait_ms", times=1e-3),
    ),
    Reading(
        "cleave_edge_slower_than_profiled_ratio",
        "gauge",
        "Stage times now, in multiples of the profile.",
        each("slower_than_profiled"),
        ("device",),
    ),
    Reading(
        "cleave_edge_sampling_fps",
        "gauge",
        "Frames per second that are to be taken; absent where it is as many as possible.",
        at("sampling_fps"),
    ),
    Reading(
        "cleave_edge_sampling_fps_now",
        "gauge",
        "Frames per second that are taken at most; less than asked for while the edge adapts its rate.",
        at("sampling", "fps"),
    ),
    Reading(
        "cleave_edge_source_condition",
        "gauge",
        "1 for what the source is at.",
        one_of("source", "condition", values=map(str, SourceCondition)),
        ("condition",),
    ),
    Reading(
        "cleave_edge_source_restarts_total",
        "counter",
        "Times that a camera's process was started again.",
        at("source", "restarts"),
    ),
    Reading(
        "cleave_edge_source_fps",
        "gauge",
        "Frames per second that a camera gives, taken or not; absent where that is not known.",
        at("source", "fps"),
    ),
    Reading(
        "cleave_edge_sink_up",
        "gauge",
        "1 while a sink's receiver is there.",
        _of_sinks("connected"),
        ("sink",),
    ),
    Reading(
        "cleave_edge_sink_spooled_records",
        "gauge",
        "Records that wait for a sink's receiver.",
        _of_sinks("spooled_records"),
        ("sink",),
    ),
    Reading(
        "cleave_edge_sink_spooled_bytes",
        "gauge",
        "What these take on the disk.",
        _of_sinks("spooled_bytes"),
        ("sink",),
    ),
    Reading(
        "cleave_edge_sink_sent_total",
        "counter",
        "Records that a receiver has confirmed.",
        _of_sinks("sent"),
        ("sink",),
    ),
    Reading(
        "cleave_edge_sink_dropped_total",
        "counter",
        "Records that were too many to wait.",
        _of_sinks("dropped"),
        ("sink",),
    ),
    Reading(
        "cleave_edge_sink_refused_total",
        "counter",
        "Records that the receiver does not want.",
        _of_sinks("refused"),
        ("sink",),
    ),
    Reading(
        "cleave_edge_sink_damaged_total",
        "counter",
        "Records that the disk has lost.",
        _of_sinks("damaged"),
        ("sink",),
    ),
    *machine_readings("cleave_edge"),
)


class EdgeMetrics:
    """The histograms. Observing a frame takes microseconds."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(namespace="cleave_edge", registry=self.registry)
        stages = Histogram(
            "cleave_edge_stage_seconds",
            "Where answered frames' time went. `link` is the round trip less the cloud's own time.",
            ["stage"],
            buckets=BUCKETS_S,
            registry=self.registry,
        )
        self._stages = {name: stages.labels(name) for name in STAGES}
        whole = Histogram(
            "cleave_edge_frame_seconds",
            "From a frame's beginning (of its head, or of its sending) to its answer, by where it ran.",
            ["ran"],
            buckets=BUCKETS_S,
            registry=self.registry,
        )
        self._whole = {name: whole.labels(name) for name in RAN}

    def saw(self, record: FrameRecord) -> None:
        """Take note of a frame's record."""
        if record.error is not None:
            return
        took = record.durations
        spent_ms = (
            took.queue_ms,
            took.head_ms,
            took.encode_ms,
            took.link_ms,
            took.cloud_queue_ms,
            took.tail_ms,
        )
        for name, ms in zip(STAGES, spent_ms, strict=True):
            if ms is not None:
                self._stages[name].observe(ms / 1e3)
        self._whole[record.ran].observe(took.total_ms / 1e3)
