"""The messages of the channel: frozen values that validate themselves.

A message that cannot be valid cannot be built: its `__post_init__` raises `RemoteProtocolError`, which is
what it is when the fields come from the peer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from common import limits
from common.profile import ModelFingerprint
from common.wire.fields import (
    check_digest,
    check_int,
    check_number,
    check_text,
    entries,
    fail,
)
from common.wire.message import Message as Message
from common.wire.stage_messages import MeasureReply as MeasureReply
from common.wire.stage_messages import MeasureRequest as MeasureRequest
from common.wire.stage_messages import Prepare as Prepare
from common.wire.stage_messages import Prepared as Prepared
from common.wire.stage_messages import StageMessage as StageMessage
from common.wire.tensors import TensorEntry, check_decoded_bytes

PROTOCOL = 2
"""Version of the protocol; both sides must speak the same one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello(Message):
    """edge → cloud, first: who I am and which model I hold."""

    code: ClassVar[int] = 1
    protocol: int
    edge: str
    model: str
    architecture: str
    weights: str
    graph: str

    def __post_init__(self) -> None:
        check_int(self, "protocol")
        check_text(self, "edge")
        check_text(self, "model")
        check_digest(self, "architecture", "weights", "graph")

    @property
    def fingerprint(self) -> ModelFingerprint:
        return ModelFingerprint(self.architecture, self.weights, self.graph)


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome(Message):
    """cloud → edge: we hold the same model; you may have `credit` frames here at a time."""

    code: ClassVar[int] = 2
    session: str
    cloud: str
    device: str
    credit: int

    def __post_init__(self) -> None:
        check_text(self, "session")
        check_text(self, "cloud")
        check_text(self, "device")
        check_int(self, "credit", 1, 1024)

    @property
    def daemon(self) -> tuple[str, str, str]:
        """What stays the same as long as the cloud's daemon runs: its sessions are RUN-1, RUN-2, …"""
        return self.cloud, self.device, self.session.rpartition("-")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused(Message):
    """cloud → edge: no session, and why. `kind` is `model`, `protocol`, `busy` or `access` (not this edge)."""

    code: ClassVar[int] = 3
    kind: str
    reason: str

    KINDS: ClassVar[tuple[str, ...]] = ("model", "protocol", "busy", "access")

    def __post_init__(self) -> None:
        if self.kind not in self.KINDS:
            raise fail(self, "kind", self.kind, "one of " + ", ".join(self.KINDS))
        check_text(self, "reason", limits.MAX_REASON_CHARS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileRequest(Message):
    """edge → cloud: your measured costs, please; the payload is a frame to measure with."""

    code: ClassVar[int] = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileReply(Message):
    """cloud → edge: the payload is the profile (JSON)."""

    code: ClassVar[int] = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Infer(Message):
    """edge → cloud: a frame's crossing tensors (in the payload), under an epoch.

    `deadline_ms` is how long from now the edge will wait; after that the answer is of no use to it.
    """

    code: ClassVar[int] = 8
    frame: int
    epoch: int
    deadline_ms: float
    tensors: tuple[TensorEntry, ...]

    def __post_init__(self) -> None:
        check_int(self, "frame")
        check_int(self, "epoch")
        check_number(self, "deadline_ms")
        check_decoded_bytes(self.tensors)

    @classmethod
    def from_header(cls, header: Mapping[str, Any]) -> Self:
        return super(Infer, cls).from_header(entries(header))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Message):
    """cloud → edge: a frame's answer (in the payload), with the cloud's own durations in ms.

    `receive_ms` and `spaced_bytes` tell the bandwidth: so many bytes arrived in that time after the first
    read. `cloud_ms` runs from the last byte's arrival to the answer's leaving: queue, tail and the rest.
    `batch` frames ran together; `tail_ms` is what this one would have taken alone. `others_ms` is how long
    other edges' frames held this one up while no frame of its own edge was before it.
    """

    code: ClassVar[int] = 9
    frame: int
    epoch: int
    receive_ms: float
    spaced_bytes: int
    queue_ms: float
    tail_ms: float
    cloud_ms: float
    others_ms: float
    batch: int
    tensors: tuple[TensorEntry, ...]

    def __post_init__(self) -> None:
        check_int(self, "frame")
        check_int(self, "epoch")
        check_int(self, "spaced_bytes")
        check_int(self, "batch", 1)
        check_number(self, "receive_ms", "queue_ms", "tail_ms", "cloud_ms", "others_ms")
        check_decoded_bytes(self.tensors)

    @classmethod
    def from_header(cls, header: Mapping[str, Any]) -> Self:
        return super(Answer, cls).from_header(entries(header))


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy(Message):
    """cloud → edge: this frame was not taken; try the cloud again after `retry_after_ms`."""

    code: ClassVar[int] = 10
    frame: int
    epoch: int
    retry_after_ms: float

    def __post_init__(self) -> None:
        check_int(self, "frame")
        check_int(self, "epoch")
        check_number(self, "retry_after_ms")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(Message):
    """cloud → edge: this frame failed, and why. `frame_at_fault`: it would fail anywhere (no image, say)."""

    code: ClassVar[int] = 11
    frame: int
    epoch: int
    frame_at_fault: bool
    reason: str

    def __post_init__(self) -> None:
        check_int(self, "frame")
        check_int(self, "epoch")
        if type(self.frame_at_fault) is not bool:
            raise fail(self, "frame_at_fault", self.frame_at_fault, "true or false")
        check_text(self, "reason", limits.MAX_REASON_CHARS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRequest(Message):
    """edge → cloud: a turn on your iperf3 server, please."""

    code: ClassVar[int] = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeGrant(Message):
    """cloud → edge: the server listens on `port` for one test by you, of at most `seconds`."""

    code: ClassVar[int] = 13
    port: int
    seconds: float

    def __post_init__(self) -> None:
        check_int(self, "port", 1, 65535)
        check_number(self, "seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeDenied(Message):
    """cloud → edge: no turn now, and why."""

    code: ClassVar[int] = 14
    reason: str

    def __post_init__(self) -> None:
        check_text(self, "reason", limits.MAX_REASON_CHARS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping(Message):
    """Either side: are you there? A payload makes it a measurement of the bandwidth."""

    code: ClassVar[int] = 15
    number: int

    def __post_init__(self) -> None:
        check_int(self, "number")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pong(Message):
    """The answer to a ping, with how its payload arrived (as in `Answer`).

    `wait_ms` is how long other edges' frames would hold up one that came now, `in_line_ms` how long each of an
    endless line; at an edge there are none.
    """

    code: ClassVar[int] = 16
    number: int
    receive_ms: float
    spaced_bytes: int
    wait_ms: float = 0.0
    in_line_ms: float = 0.0

    def __post_init__(self) -> None:
        check_int(self, "number")
        check_number(self, "receive_ms", "wait_ms", "in_line_ms")
        check_int(self, "spaced_bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain(Message):
    """Either side: I am finishing; send nothing new, what is in flight will be answered."""

    code: ClassVar[int] = 17
    reason: str

    def __post_init__(self) -> None:
        check_text(self, "reason", limits.MAX_REASON_CHARS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bye(Message):
    """Either side: I close this connection now, and why."""

    code: ClassVar[int] = 18
    reason: str

    def __post_init__(self) -> None:
        check_text(self, "reason", limits.MAX_REASON_CHARS)


MESSAGES: Mapping[int, type[Message]] = {
    cls.code: cls
    for cls in (
        Hello, Welcome, Refused, ProfileRequest, ProfileReply, Prepare, Prepared, Infer, Answer,
        Busy, Failed, ProbeRequest, ProbeGrant, ProbeDenied, Ping, Pong, Drain, Bye,
        MeasureRequest, MeasureReply,
    )
}  # fmt: skip

WITH_PAYLOAD: Mapping[type[Message], int] = {
    ProfileRequest: limits.MAX_PAYLOAD_BYTES,
    ProfileReply: limits.MAX_PROFILE_BYTES,
    Infer: limits.MAX_PAYLOAD_BYTES,
    Answer: limits.MAX_PAYLOAD_BYTES,
    Ping: limits.MAX_PING_BYTES,
}
"""Messages that may have a payload, of at most so many bytes; any other one with a payload breaks the protocol."""


def printable(reason: object, longest: int = limits.MAX_REASON_CHARS) -> str:
    """Make any text fit for a message's reason: one printable line, cut to length."""
    line = " ".join(str(reason).split())
    return "".join(c if c.isprintable() else "�" for c in line)[:longest]
