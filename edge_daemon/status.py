"""The edge's status, as one document for file, page and metrics: what is plain is told plainly, in JSON's terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common.plan import Plan
from edge_daemon.alternatives import Alternative
from edge_daemon.config import EdgeSettings
from edge_daemon.fidelity import Fidelity
from edge_daemon.frame_counts import FrameCounts
from edge_daemon.line import UplinkCounts
from edge_daemon.sampling import Sampling
from edge_daemon.scales import Scales
from edge_daemon.source_state import SourceState
from edge_daemon.switch_log import SwitchLog


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkState:
    """What is known of the line to the cloud."""

    available: bool
    session: str | None
    counts: UplinkCounts
    bandwidth_bps: float | None
    measured_by: str | None
    rtt_ms: float
    last_error: str | None
    channel: str
    tls: Mapping[str, Any] | None

    def to_status(self, cloud: str) -> dict[str, Any]:
        return {
            "available": self.available,
            "session": self.session,
            "connections": self.counts.connections,
            "suspicions": self.counts.suspicions,
            "cloud": cloud,
            "bandwidth_mbit": round(self.bandwidth_bps / 1e6, 3) if self.bandwidth_bps else None,
            "measured_by": self.measured_by,
            "rtt_ms": round(self.rtt_ms, 2),
            "last_error": self.last_error,
            "channel": self.channel,
            "tls": self.tls,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeState:
    """All that the status tells of, as values. `written_at` is in Unix seconds."""

    written_at: float
    model: str
    weights: str
    device: str
    executor: str
    settings: EdgeSettings
    link: LinkState
    plan: Plan
    alternatives: Sequence[Alternative]
    cloud_wait_ms: float
    profiled: bool
    cuts_to_measure: int | None
    scales: Scales
    fidelity: Fidelity
    frames: FrameCounts
    finished_on_edge: Mapping[str, int]
    sent_bytes: Mapping[str, int]
    source: SourceState
    sampling: Sampling
    delivery: str
    trouble: str | None
    sinks: Sequence[Mapping[str, Any]]
    switches: SwitchLog
    recent: Mapping[str, Any]
    latest: Mapping[str, Any] | None
    process: Mapping[str, Any]


def status_document(state: EdgeState) -> dict[str, Any]:
    """Return the status, as `status.json` and `/status` have it."""
    settings = state.settings
    return {
        "state": "running",
        "written_at": state.written_at,
        "model": state.model,
        "weights": state.weights,
        "device": state.device,
        "executor": state.executor,
        "link": state.link.to_status(str(settings.cloud)),
        "plan": plan_document(state.plan),
        "alternatives": [alternative.to_status() for alternative in state.alternatives],
        "cloud_wait_ms": round(state.cloud_wait_ms, 1),
        "source": state.source.to_status(),
        "sampling_fps": settings.sampling_fps or None,
        "sampling": state.sampling.to_status(),
        "profiled": state.profiled,
        "cuts_to_measure": state.cuts_to_measure,
        "slower_than_profiled": {
            "edge": round(state.scales.edge, 2),
            "cloud": round(state.scales.cloud, 2),
        },
        "lossy_cuts": [
            {
                "cut": cut.label,
                "usable": usable,
                "frames": certificate.frames,
                "agreement": round(certificate.agreement, 4),
                "largest_change": round(certificate.largest_change, 4),
            }
            for cut, certificate, usable in state.fidelity
        ],
        "frames": state.frames.as_document(),
        "finished_on_edge": dict(state.finished_on_edge),
        "sent_bytes": dict(state.sent_bytes),
        "results": {"path": settings.results, "delivery": state.delivery, "trouble": state.trouble},
        "sinks": list(state.sinks),
        "switches": state.switches.count,
        "switches_by_cause": state.switches.as_counts(),
        "stale_answers": state.link.counts.stale_answers,
        "recent": state.recent,
        "latest": state.latest,
        "process": state.process,
    }


def plan_document(plan: Plan) -> dict[str, Any]:
    """Return what the status says of the plan in force, in ms."""
    predicted = plan.prediction
    return {
        "epoch": plan.epoch,
        "mode": str(plan.mode),
        "cut": plan.cut.label,
        "cause": str(plan.cause),
        "reason": plan.reason,
        "predicted_latency_ms": predicted.latency_ms if predicted else None,
        "predicted_ms": {
            "edge": round(predicted.edge_ms, 2),
            "link": round(predicted.link_ms, 2),
            "cloud": round(predicted.cloud_ms, 2),
        }
        if predicted
        else None,
        "sustainable_fps": plan.sustainable_fps,
        "units": {"edge": len(plan.cut.edge_units), "cloud": len(plan.cut.cloud_units)},
        "crossing": [
            {"unit": unit, "codec": codec}
            for unit, codec in (plan.cut.codec_of.items() if plan.cut.cloud_units else ())
        ],
    }
