"""The cloud's status, as one document for file, page and metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloud_daemon.frame_tally import FrameTally, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeAtCloud:
    """One edge that is connected. `since` is in Unix seconds."""

    session: str
    name: str
    address: str
    tls: bool
    model: str
    since: float
    answered: int
    per_second: float
    in_flight: int

    def to_status(self) -> dict[str, Any]:
        return {
            "session": self.session,
            "name": self.name,
            "address": self.address,
            "tls": self.tls,
            "model": self.model,
            "since": round(self.since, 3),
            "answered": self.answered,
            "answered_per_s": round(self.per_second, 2),
            "in_flight": self.in_flight,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """One model that is served, and by what."""

    name: str
    weights: str
    units: int
    device: str
    executor: str

    def to_status(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "weights": self.weights,
            "units": self.units,
            "device": self.device,
            "executor": self.executor,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudState:
    """All that the status tells of, as values. `written_at` is in Unix seconds; memory in bytes."""

    written_at: float
    name: str
    listen: str | None
    channel: str
    tls: Mapping[str, Any] | None
    models: Sequence[ServedModel]
    edges: Sequence[EdgeAtCloud]
    greeting: int
    waiting: int
    held: int
    places: int
    load: float
    busy_s: float
    answered_per_s: float
    batch_max: int
    tally: FrameTally
    receive_held: int
    receive_limit: int
    receive_refused: int
    gpu: Mapping[str, int] | None
    process: Mapping[str, Any]


def status_document(state: CloudState) -> dict[str, Any]:
    """Return the status, as `status.json` and `/status` have it."""
    tally = state.tally
    return {
        "state": "running",
        "written_at": state.written_at,
        "name": state.name,
        "listen": state.listen,
        "channel": state.channel,
        "tls": state.tls,
        "models": [model.to_status() for model in state.models],
        "edges": [edge.to_status() for edge in sorted(state.edges, key=lambda edge: (edge.name, edge.since))],
        "greeting": state.greeting,
        "queue": {"waiting": state.waiting, "held": state.held, "places": state.places},
        "load": round(state.load, 3),
        "busy_s": round(state.busy_s, 3),
        "answered_per_s": round(state.answered_per_s, 2),
        "frames": {
            "received": tally.received,
            "in_flight": tally.in_flight,
            **{str(outcome): tally.outcomes[outcome] for outcome in Outcome},
        },
        "batches": {
            "most": state.batch_max,
            "frames_by_size": {str(size): frames for size, frames in sorted(tally.batches.items())},
        },
        "received_bytes": dict(tally.received_bytes),
        "receive_memory": {
            "held_bytes": state.receive_held,
            "limit_bytes": state.receive_limit,
            "refused": state.receive_refused,
        },
        "gpu": state.gpu,
        "process": state.process,
    }
