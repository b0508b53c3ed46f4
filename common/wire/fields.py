"""Checks for the fields of messages: each raises `RemoteProtocolError` naming message, field and value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from common import limits
from common.errors import RemoteProtocolError
from common.wire.tensors import entry_of

MAX_COUNT = 2**53
"""Frame and epoch numbers stay below this, so that every language can hold them."""


DEEPEST = 3
"""Lists in lists in a field: tensors, the entry, its shape."""


def check_depth(value: tuple[Any, ...], depth: int = DEEPEST) -> None:
    """Refuse deep nesting: to show or compare such a value would exhaust the interpreter's stack."""
    if depth == 0:
        raise RemoteProtocolError(f"header: lists nested more than {DEEPEST} deep")
    for item in value:
        if type(item) is tuple:
            check_depth(item, depth - 1)


def fail(message: object, field: str, value: object, wanted: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"{type(message).__name__}.{field} is {value!r:.80}, not {wanted}")


def check_int(message: object, field: str, low: int = 0, high: int = MAX_COUNT) -> None:
    value = getattr(message, field)
    if type(value) is not int or not low <= value <= high:
        raise fail(message, field, value, f"a whole number from {low} to {high}")


def check_number(message: object, *names: str) -> None:
    for field in names:
        value = getattr(message, field)
        if type(value) is float and 0.0 <= value < MAX_COUNT:
            continue  # as nearly all are; a value that is no number compares with none
        if type(value) not in (int, float) or not (math.isfinite(value) and 0 <= value < MAX_COUNT):
            raise fail(message, field, value, "a finite number ≥ 0")


def check_text(message: object, field: str, longest: int = limits.MAX_NAME_CHARS) -> None:
    value = getattr(message, field)
    if not isinstance(value, str) or len(value) > longest or not value.isprintable():
        raise fail(message, field, value, f"printable text of at most {longest} characters")


def check_digest(message: object, *names: str) -> None:
    for field in names:
        value = getattr(message, field)
        if not (isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")):
            raise fail(message, field, value, "a SHA-256 digest in hex")


def check_indices(message: object, field: str, values: object) -> None:
    if not isinstance(values, tuple) or len(values) > limits.MAX_UNITS:
        raise fail(message, field, values, f"at most {limits.MAX_UNITS} unit indices")
    if any(type(v) is not int or not 0 <= v < limits.MAX_UNITS for v in values):
        raise fail(message, field, values, f"unit indices below {limits.MAX_UNITS}")
    if len(set(values)) != len(values):
        raise fail(message, field, values, "distinct unit indices")


def entries(header: Mapping[str, Any]) -> dict[str, Any]:
    """Replace the rows of a header's `tensors` by entries."""
    rows = header.get("tensors")
    if not isinstance(rows, tuple) or len(rows) > limits.MAX_TENSORS:
        raise RemoteProtocolError(f"tensors: not a list of at most {limits.MAX_TENSORS}")
    check_depth(rows)
    entries = []
    for row in rows:
        if not isinstance(row, tuple) or len(row) != 6:
            raise RemoteProtocolError(f"tensors: {row!r:.80} is not unit, dtype, shape, bytes, codec, order")
        entries.append(entry_of(*row))
    return {**header, "tensors": tuple(entries)}
