"""The messages of the channel: frozen values that validate themselves.

A message that cannot be valid cannot be built: its `__post_init__` raises `RemoteProtocolError`, which is
what it is when the fields come from the peer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

from common import limits
from common.errors import RemoteProtocolError
from common.profile import ModelFingerprint
from common.wire.tensors import TensorEntry

PROTOCOL = 1
"""Version of the protocol; both sides must speak the same one."""

MAX_COUNT = 2**53
"""Frame and epoch numbers stay below this, so that every language can hold them."""


class Message:
    """Base of all messages. `code` is the type byte on the wire."""

    __slots__ = ()
    code: ClassVar[int]

    def header(self) -> dict[str, Any]:
        """Return the fields as plain values for msgpack."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}  # type: ignore[arg-type]

    @classmethod
    def from_header(cls, header: Mapping[str, Any]) -> Self:
        """Build the message from decoded fields. Raises `RemoteProtocolError` for missing or unknown ones."""
        expected = {f.name for f in fields(cls)}  # type: ignore[arg-type]
        if header.keys() != expected:
            odd = ", ".join(sorted(expected ^ header.keys()))
            raise RemoteProtocolError(f"{cls.__name__}: fields missing or unknown: {odd[:200]}")
        return cls(**{name: _frozen(value) for name, value in header.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, TensorEntry):
        return (value.unit, value.dtype, value.shape, value.nbytes, value.codec)
    if isinstance(value, tuple):
        return tuple(_plain(item) for item in value)
    return value


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def _fail(message: Message, field: str, value: object, wanted: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"{type(message).__name__}.{field} is {value!r:.80}, not {wanted}")


def _check_int(message: Message, field: str, low: int = 0, high: int = MAX_COUNT) -> None:
    value = getattr(message, field)
    if type(value) is not int or not low <= value <= high:
        raise _fail(message, field, value, f"a whole number from {low} to {high}")


def _check_number(message: Message, *names: str) -> None:
    for field in names:
        value = getattr(message, field)
        if type(value) not in (int, float) or not (math.isfinite(value) and 0 <= value < MAX_COUNT):
            raise _fail(message, field, value, "a finite number ≥ 0")


def _check_text(message: Message, field: str, longest: int = limits.MAX_NAME_CHARS) -> None:
    value = getattr(message, field)
    if not isinstance(value, str) or len(value) > longest or not value.isprintable():
        raise _fail(message, field, value, f"printable text of at most {longest} characters")


def _check_digest(message: Message, *names: str) -> None:
    for field in names:
        value = getattr(message, field)
        if not (isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")):
            raise _fail(message, field, value, "a SHA-256 digest in hex")


def _check_indices(message: Message, field: str, values: object) -> None:
    if not isinstance(values, tuple) or len(values) > limits.MAX_UNITS:
        raise _fail(message, field, values, f"at most {limits.MAX_UNITS} unit indices")
    if any(type(v) is not int or not 0 <= v < limits.MAX_UNITS for v in values):
        raise _fail(message, field, values, f"unit indices below {limits.MAX_UNITS}")
    if len(set(values)) != len(values):
        raise _fail(message, field, values, "distinct unit indices")


def _entries(header: Mapping[str, Any]) -> dict[str, Any]:
    """Replace the rows of a header's `tensors` by entries."""
    rows = header.get("tensors")
    if not isinstance(rows, list) or len(rows) > limits.MAX_TENSORS:
        raise RemoteProtocolError(f"tensors: not a list of at most {limits.MAX_TENSORS}")
    entries = []
    for row in rows:
        if not isinstance(row, list) or len(row) != 5:
            raise RemoteProtocolError(f"tensors: {row!r:.80} is not unit, dtype, shape, bytes, codec")
        entries.append(TensorEntry(*(_frozen(item) for item in row)))
    return {**header, "tensors": tuple(entries)}


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
        _check_int(self, "protocol")
        _check_text(self, "edge")
        _check_text(self, "model")
        _check_digest(self, "architecture", "weights", "graph")

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
        _check_text(self, "session")
        _check_text(self, "cloud")
        _check_text(self, "device")
        _check_int(self, "credit", 1, 1024)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused(Message):
    """cloud → edge: no session, and why. `kind` is `model`, `protocol` or `busy`."""

    code: ClassVar[int] = 3
    kind: str
    reason: str

    KINDS: ClassVar[tuple[str, ...]] = ("model", "protocol", "busy")

    def __post_init__(self) -> None:
        if self.kind not in self.KINDS:
            raise _fail(self, "kind", self.kind, "one of " + ", ".join(self.KINDS))
        _check_text(self, "reason", limits.MAX_REASON_CHARS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileRequest(Message):
    """edge → cloud: your measured costs, please; the payload is a frame to measure with."""

    code: ClassVar[int] = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileReply(Message):
    """cloud → edge: the payload is the profile (JSON)."""

    code: ClassVar[int] = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepare(Message):
    """edge → cloud: have this stage ready under this epoch. Units are indices in the graph."""

    code: ClassVar[int] = 6
    epoch: int
    units: tuple[int, ...]
    inputs: tuple[int, ...]
    outputs: tuple[tuple[int, str], ...]

    def __post_init__(self) -> None:
        _check_int(self, "epoch")
        _check_indices(self, "units", self.units)
        _check_indices(self, "inputs", self.inputs)
        if not isinstance(self.outputs, tuple) or not all(
            isinstance(row, tuple) and len(row) == 2 for row in self.outputs
        ):
            raise _fail(self, "outputs", self.outputs, "pairs of unit index and destination")
        _check_indices(self, "outputs", tuple(unit for unit, _ in self.outputs))
        for _, destination in self.outputs:
            if not isinstance(destination, str) or len(destination) > limits.MAX_NAME_CHARS:
                raise _fail(self, "outputs", destination, "a destination's name")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared(Message):
    """cloud → edge: the epoch's stage is warm, or `reason` says why it cannot be."""

    code: ClassVar[int] = 7
    epoch: int
    ready: bool
    reason: str
    prepare_ms: float

    def __post_init__(self) -> None:
        _check_int(self, "epoch")
        if type(self.ready) is not bool:
            raise _fail(self, "ready", self.ready, "true or false")
        _check_text(self, "reason", limits.MAX_REASON_CHARS)
        _check_number(self, "prepare_ms")


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
        _check_int(self, "frame")
        _check_int(self, "epoch")
        _check_number(self, "deadline_ms")

    @classmethod
    def from_header(cls, header: Mapping[str, Any]) -> Self:
        return super(Infer, cls).from_header(_entries(header))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Message):
    """cloud → edge: a frame's answer (in the payload), with the cloud's own durations in ms.

    `receive_ms` and `spaced_bytes` tell the bandwidth: so many bytes arrived in that time after the first
    read. `cloud_ms` runs from the last byte's arrival to the answer's leaving: queue, tail and the rest.
    """

    code: ClassVar[int] = 9
    frame: int
    epoch: int
    receive_ms: float
    spaced_bytes: int
    queue_ms: float
    tail_ms: float
    cloud_ms: float
    tensors: tuple[TensorEntry, ...]

    def __post_init__(self) -> None:
        _check_int(self, "frame")
        _check_int(self, "epoch")
        _check_int(self, "spaced_bytes")
        _check_number(self, "receive_ms", "queue_ms", "tail_ms", "cloud_ms")

    @classmethod
    def from_header(cls, header: Mapping[str, Any]) -> Self:
        return super(Answer, cls).from_header(_entries(header))


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy(Message):
    """cloud → edge: this frame was not taken; try the cloud again after `retry_after_ms`."""

    code: ClassVar[int] = 10
    frame: int
    epoch: int
    retry_after_ms: float

    def __post_init__(self) -> None:
        _check_int(self, "frame")
        _check_int(self, "epoch")
        _check_number(self, "retry_after_ms")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(Message):
    """cloud → edge: this frame failed, and why. `frame_at_fault`: it would fail anywhere (no image, say)."""

    code: ClassVar[int] = 11
    frame: int
    epoch: int
    frame_at_fault: bool
    reason: str

    def __post_init__(self) -> None:
        _check_int(self, "frame")
        _check_int(self, "epoch")
        if type(self.frame_at_fault) is not bool:
            raise _fail(self, "frame_at_fault", self.frame_at_fault, "true or false")
        _check_text(self, "reason", limits.MAX_REASON_CHARS)


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
        _check_int(self, "port", 1, 65535)
        _check_number(self, "seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeDenied(Message):
    """cloud → edge: no turn now, and why."""

    code: ClassVar[int] = 14
    reason: str

    def __post_init__(self) -> None:
        _check_text(self, "reason", limits.MAX_REASON_CHARS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping(Message):
    """Either side: are you there? A payload makes it a measurement of the bandwidth."""

    code: ClassVar[int] = 15
    number: int

    def __post_init__(self) -> None:
        _check_int(self, "number")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pong(Message):
    """The answer to a ping, with how its payload arrived (as in `Answer`)."""

    code: ClassVar[int] = 16
    number: int
    receive_ms: float
    spaced_bytes: int

    def __post_init__(self) -> None:
        _check_int(self, "number")
        _check_number(self, "receive_ms")
        _check_int(self, "spaced_bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain(Message):
    """Either side: I am finishing; send nothing new, what is in flight will be answered."""

    code: ClassVar[int] = 17
    reason: str

    def __post_init__(self) -> None:
        _check_text(self, "reason", limits.MAX_REASON_CHARS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bye(Message):
    """Either side: I close this connection now, and why."""

    code: ClassVar[int] = 18
    reason: str

    def __post_init__(self) -> None:
        _check_text(self, "reason", limits.MAX_REASON_CHARS)


MESSAGES: Mapping[int, type[Message]] = {
    cls.code: cls
    for cls in (
        Hello, Welcome, Refused, ProfileRequest, ProfileReply, Prepare, Prepared, Infer, Answer,
        Busy, Failed, ProbeRequest, ProbeGrant, ProbeDenied, Ping, Pong, Drain, Bye,
    )
}  # fmt: skip

WITH_PAYLOAD = frozenset({ProfileRequest, ProfileReply, Infer, Answer, Ping})
"""Messages that may have a payload; any other one with a payload breaks the protocol."""


def printable(reason: object, longest: int = limits.MAX_REASON_CHARS) -> str:
    """Make any text fit for a message's reason: one printable line, cut to length."""
    line = " ".join(str(reason).split())
    return "".join(c if c.isprintable() else "�" for c in line)[:longest]
