"""Bytes of one message: prefix, header, payload.

    0      4    5     6          8                16
    | CLV1 |type|flags|header len| payload length | msgpack header | payload |
      4 B    u8   u8    u16 BE      u64 BE

Every length is checked before anything is allocated for it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgpack

from common import limits
from common.errors import LocalProtocolError, RemoteProtocolError
from common.wire.messages import MESSAGES, WITH_PAYLOAD, Message

MAGIC = b"CLV1"
PREFIX = struct.Struct(">4sBBHQ")


@dataclass(frozen=True, slots=True)
class Prefix:
    """What the first 16 bytes of a message say."""

    message: type[Message]
    header_bytes: int
    payload_bytes: int


def parse_prefix(data: bytes | memoryview, *, greeting: bool) -> Prefix:
    """Read a prefix. `greeting` asks for the smaller limits that hold before the handshake is done.

    Raises `RemoteProtocolError` for a foreign protocol, an unknown type, and lengths beyond the limits.
    """
    magic, code, flags, header_bytes, payload_bytes = PREFIX.unpack(data)
    if magic != MAGIC:
        raise RemoteProtocolError(f"starts with {magic!r}, not {MAGIC!r}: this is no Cleave peer")
    message = MESSAGES.get(code)
    if message is None:
        raise RemoteProtocolError(f"message type {code} is not known")
    if flags:
        raise RemoteProtocolError(f"{message.__name__}: flags {flags:#04x}, none are defined")
    if header_bytes > limits.MAX_HEADER_BYTES:
        raise RemoteProtocolError(
            f"{message.__name__}: header of {header_bytes} bytes, {limits.MAX_HEADER_BYTES} are allowed"
        )
    allowed = WITH_PAYLOAD.get(message, 0)
    if payload_bytes > allowed:
        raise RemoteProtocolError(
            f"{message.__name__}: payload of {payload_bytes} bytes, {allowed} are allowed"
        )
    if greeting and header_bytes + payload_bytes > limits.MAX_GREETING_BYTES:
        raise RemoteProtocolError(
            f"{message.__name__}: {header_bytes + payload_bytes} bytes before the handshake is done, "
            f"{limits.MAX_GREETING_BYTES} are allowed"
        )
    return Prefix(message, header_bytes, payload_bytes)


def parse_header(prefix: Prefix, data: bytes | memoryview) -> Message:
    """Decode a message's header. Raises `RemoteProtocolError` for anything but its exact valid fields."""
    try:
        header = msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=True,
            use_list=False,  # an empty list takes 72 bytes for its one on the wire, an empty tuple none
            object_pairs_hook=_one_map(),
            ext_hook=_no_extension,
            max_str_len=limits.MAX_HEADER_BYTES,
            max_bin_len=0,
            max_array_len=limits.MAX_UNITS,
            max_map_len=32,
            max_ext_len=0,
        )
    except RemoteProtocolError:
        raise
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
        raise RemoteProtocolError(
            f"{prefix.message.__name__}: header is no valid msgpack: {error!s:.100}"
        ) from None
    if not isinstance(header, dict):
        raise RemoteProtocolError(f"{prefix.message.__name__}: header is no map")
    return prefix.message.from_header(header)


def pack(message: Message, payload_bytes: int) -> bytes:
    """Encode prefix and header of a message whose payload has `payload_bytes` bytes.

    Raises `LocalProtocolError` when it would be longer than the limits allow.
    """
    header: bytes = msgpack.packb(message.header())
    name = type(message).__name__
    if len(header) > limits.MAX_HEADER_BYTES:
        raise LocalProtocolError(
            f"{name}: header of {len(header)} bytes, {limits.MAX_HEADER_BYTES} are allowed"
        )
    allowed = WITH_PAYLOAD.get(type(message), 0)
    if payload_bytes > allowed:
        raise LocalProtocolError(f"{name}: payload of {payload_bytes} bytes, {allowed} are allowed")
    return PREFIX.pack(MAGIC, message.code, 0, len(header), payload_bytes) + header


def _one_map() -> Callable[[list[tuple[Any, Any]]], dict[Any, Any]]:
    """Make the hook that builds a header: it refuses a field twice, and any second map before that takes memory."""
    built = False

    def build(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
        nonlocal built
        if built:
            raise RemoteProtocolError("header: a map in a field")
        built = True
        header = dict(pairs)
        if len(header) != len(pairs):
            raise RemoteProtocolError("header: the same field twice")
        return header

    return build


def _no_extension(code: int, data: bytes) -> Any:
    raise RemoteProtocolError(f"header: msgpack extension type {code} is not allowed")
