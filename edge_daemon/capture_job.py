"""What the daemon and a camera's process say to each other, as values and as bytes.

    daemon ── job, once ──────────────────► child     4 bytes of length, JSON
           ── one byte: the next frame ───►
           ◄── Shot, Told, Ended ──────────           magic, lengths of head and payload, JSON, JPEG

A frame is sent when it is asked for, and then the newest there is; so no more than one is ever on the way.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

from common import limits
from common.errors import SourceError
from edge_daemon.picture_edit import NO_EDIT, Crop, PictureEdit
from edge_daemon.source_address import Credentials, SourceAddress, SourceKind

PREFIX = struct.Struct("!4sII")
LENGTH = struct.Struct("!I")
MAGIC = b"CLVF"
NEXT = b"n"
"""What the daemon asks for a frame with."""

Ranges = tuple[tuple[int, int], ...]
"""Indices, from the first to the last of each pair."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureJob:
    """What to capture, and how. `target` is a path, a URL with its secrets, a device, or a camera's number.

    With `every`, all frames are given, one by one, but those of `skip` and what `thin_to_fps` leaves out; else the
    newest, none older than `max_age_s`. A `paced` video is played in its own time.
    """

    kind: SourceKind
    target: str
    options: tuple[tuple[str, str], ...] = ()
    host: tuple[str, int] | None = None
    edit: PictureEdit = NO_EDIT
    every: bool = False
    paced: bool = False
    max_age_s: float = limits.MAX_FRAME_AGE_S
    skip: Ranges = ()
    thin_to_fps: float = 0.0

    @classmethod
    def of(
        cls, address: SourceAddress, credentials: Credentials | None, edit: PictureEdit, **options: Any
    ) -> CaptureJob:
        """Make the job of a source; `credentials` outweigh those of its URL."""
        stream = address.host is not None
        return cls(
            kind=address.kind,
            target=address.url(credentials) if stream else address.location,
            options=address.options,
            host=address.host,
            edit=edit,
            **options,
        )

    def to_bytes(self) -> bytes:
        text = json.dumps(asdict(self)).encode()
        return LENGTH.pack(len(text)) + text

    @classmethod
    def from_json(cls, text: bytes) -> CaptureJob:
        told = json.loads(text)
        crop = told["edit"]["crop"]
        told["edit"] = PictureEdit(told["edit"]["rotate"], Crop(**crop) if crop else None)
        told["kind"] = SourceKind(told["kind"])
        told["host"] = tuple(told["host"]) if told["host"] else None
        for name in ("options", "skip"):
            told[name] = tuple(tuple(pair) for pair in told[name])
        return cls(**told)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """A frame as it is sent: `index` counts the process's frames (a video's: from its beginning).

    `captured_at` is `time.monotonic()`, which is the same for all processes; `captured_ns` the time of day.
    `error` says why it has no picture.
    """

    index: int
    captured_at: float
    captured_ns: int
    position_s: float
    error: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """A sign of life: how many frames there were until now, and how many of them nobody will get.

    `resting`: there is none since a video that is played rests, as long as its own time says.
    """

    captured: int
    passed_over: int
    resting: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """The last word: why there will be no more frames. `finished` says that it is a video's proper end.

    `unusable` says that the file is no video at all.
    """

    reason: str
    finished: bool = False
    unusable: bool = False


Message = Shot | Told | Ended
_KINDS: dict[str, type[Shot] | type[Told] | type[Ended]] = {"shot": Shot, "told": Told, "ended": Ended}


def pack(message: Message, payload: bytes = b"") -> bytes:
    """Return a message as bytes, but for the payload, which is to follow."""
    name = next(name for name, kind in _KINDS.items() if isinstance(message, kind))
    head = json.dumps({"is": name, **asdict(message)}).encode()
    return PREFIX.pack(MAGIC, len(head), len(payload)) + head


def read_prefix(prefix: bytes) -> tuple[int, int]:
    """Return the lengths of head and payload. Raises `SourceError` for what is no message, or too long."""
    magic, head_bytes, payload_bytes = PREFIX.unpack(prefix)
    if magic != MAGIC or not 0 < head_bytes <= limits.MAX_CAPTURE_HEAD_BYTES:
        raise SourceError("the capturing process sent garbage")
    if payload_bytes > limits.MAX_FRAME_BYTES:
        raise SourceError(f"a frame has {payload_bytes} bytes, {limits.MAX_FRAME_BYTES} are allowed")
    return head_bytes, payload_bytes


def read_head(head: bytes) -> Message:
    """Read a message's head. Raises `SourceError` unless it is one, with finite numbers in the right places."""
    try:
        told = json.loads(head)
        kind = _KINDS[told.pop("is")]
        message = kind(**told)
        for field in fields(kind):
            value = getattr(message, field.name)
            if type(value).__name__ != field.type and not (field.type == "float" and type(value) is int):
                raise TypeError(field.name)
            if isinstance(value, int | float) and not (math.isfinite(value) and value >= 0):
                raise ValueError(field.name)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        raise SourceError("the capturing process sent garbage") from None
    return message


def ranges_of(indices: Iterable[int]) -> Ranges:
    """Return indices as ranges."""
    found: list[tuple[int, int]] = []
    for index in sorted(set(indices)):
        if found and found[-1][1] == index - 1:
            found[-1] = (found[-1][0], index)
        else:
            found.append((index, index))
    return tuple(found)
