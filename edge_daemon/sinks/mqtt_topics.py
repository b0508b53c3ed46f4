"""What is said where on the broker: topics, the state, and what Home Assistant is told of this edge."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

ONLINE, OFFLINE = "online", "offline"
FORBIDDEN = re.compile(r"[%/+#\x00-\x1f\x7f-\x9f]")


def level_of(name: str) -> str:
    """Return a name as one level of a topic: what would end the level or match others is written `%2F`."""
    escaped = FORBIDDEN.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), name)
    escaped = "%24" + escaped[1:] if escaped.startswith("$") else escaped
    # What is no text (a host name's odd bytes) cannot be in a topic.
    return escaped.encode("utf-8", "replace").decode() or "%00"


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one edge, all under `prefix/edge/`."""

    prefix: str
    edge: str

    @property
    def base(self) -> str:
        return f"{self.prefix}/{level_of(self.edge)}"

    @property
    def result(self) -> str:
        """One message for each record."""
        return f"{self.base}/result"

    @property
    def status(self) -> str:
        """Retained: `online`, or `offline`, which the broker says when the edge is gone."""
        return f"{self.base}/status"

    @property
    def state(self) -> str:
        """Retained: the plan and the link, as JSON, now and then."""
        return f"{self.base}/state"

    @property
    def client_id(self) -> str:
        """The same at every start, so that the broker ends what is left of an old connection, and its last will."""
        return f"cleave-{_slug(self.edge)[:40]}-{_digest(self.base)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeState:
    """What the state topic tells. `fps` is what was answered lately."""

    cut: str | None = None
    mode: str | None = None
    sustainable_fps: float | None = None
    bandwidth_mbit: float | None = None
    cloud: bool = False
    fps: float = 0.0
    waiting: int = 0
    dropped: int = 0

    def to_json(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def of(cls, status: Mapping[str, Any], fps: float, waiting: int, dropped: int) -> EdgeState:
        """Make it of the status document that the edge keeps."""
        plan, link = status.get("plan", {}), status.get("link", {})
        return cls(
            cut=plan.get("cut"),
            mode=plan.get("mode"),
            sustainable_fps=_rounded(plan.get("sustainable_fps")),
            bandwidth_mbit=_rounded(link.get("bandwidth_mbit")),
            cloud=bool(link.get("available")),
            fps=round(fps, 2),
            waiting=waiting,
            dropped=dropped,
        )


SENSORS: Mapping[str, Mapping[str, str]] = {
    "label": {
        "name": "Label",
        "topic": "result",
        "value_template": "{{ value_json.top5[0].label if value_json.top5 else 'none' }}",
        "icon": "mdi:label",
    },
    "probability": {
        "name": "Probability",
        "topic": "result",
        "value_template": "{{ (value_json.top5[0].probability * 100) | round(1) if value_json.top5 else 0 }}",
        "unit_of_measurement": "%",
        "state_class": "measurement",
    },
    "latency": {
        "name": "Latency",
        "topic": "result",
        "value_template": "{{ value_json.ms.total }}",
        "unit_of_measurement": "ms",
        "device_class": "duration",
        "state_class": "measurement",
    },
    "cut": {
        "name": "Cut",
        "topic": "state",
        "value_template": "{{ value_json.cut[:255] if value_json.cut else 'none' }}",
        "icon": "mdi:content-cut",
    },
    "bandwidth": {
        "name": "Bandwidth",
        "topic": "state",
        "value_template": "{{ value_json.bandwidth_mbit }}",
        "unit_of_measurement": "Mbit/s",
        "device_class": "data_rate",
        "state_class": "measurement",
    },
    "fps": {
        "name": "Frame rate",
        "topic": "state",
        "value_template": "{{ value_json.fps }}",
        "unit_of_measurement": "1/s",
        "state_class": "measurement",
    },
}
"""Home Assistant's sensors: `topic` is the one of ours that they read, the rest its own words."""


def discovery(prefix: str, topics: Topics, model: str) -> Iterator[tuple[str, bytes]]:
    """Yield topic and payload of the messages that make Home Assistant show the edge as a device."""
    node = f"cleave_{_slug(topics.edge)}_{_digest(topics.base)}"
    device = {
        "identifiers": [node],
        "name": f"Cleave {topics.edge}".encode("utf-8", "replace").decode(),
        "manufacturer": "Cleave",
        "model": model,
    }
    for key, sensor in SENSORS.items():
        own = {name: value for name, value in sensor.items() if name != "topic"}
        config = {
            **own,
            "unique_id": f"{node}_{key}",
            "state_topic": getattr(topics, sensor["topic"]),
            "availability_topic": topics.status,
            "device": device,
        }
        yield f"{prefix}/sensor/{node}/{key}/config", json.dumps(config).encode()
    connected = {
        "name": "Connected",
        "unique_id": f"{node}_connected",
        "state_topic": topics.status,
        "payload_on": ONLINE,
        "payload_off": OFFLINE,
        "device_class": "connectivity",
        "entity_category": "diagnostic",
        "device": device,
    }
    yield f"{prefix}/binary_sensor/{node}/connected/config", json.dumps(connected).encode()


def _slug(name: str) -> str:
    """Return what of a name may be in an id of Home Assistant's, and in every broker's client id."""
    return re.sub(r"[^a-zA-Z0-9_-]", "_", name)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=4).hexdigest()


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
