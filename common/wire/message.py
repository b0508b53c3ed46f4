"""What all messages of the channel have in common: fields to and from a header."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import Any, ClassVar, Self

from common.errors import RemoteProtocolError
from common.wire.fields import check_depth
from common.wire.tensors import TensorEntry


class Message:
    """Base of all messages. `code` is the type byte on the wire."""

    __slots__ = ()
    code: ClassVar[int]

    def header(self) -> dict[str, Any]:
        """Return the fields as plain values for msgpack."""
        return {name: _plain(getattr(self, name)) for name in _names_in_order(type(self))}  # type: ignore[arg-type]

    @classmethod
    def from_header(cls, header: Mapping[str, Any]) -> Self:
        """Build the message from decoded fields. Raises `RemoteProtocolError` for missing or unknown ones."""
        expected = _field_names(cls)  # type: ignore[arg-type]
        if header.keys() != expected:
            # As Python writes them: a name that the peer made up may hold control characters.
            odd = ", ".join(sorted(repr(name) for name in expected ^ header.keys()))
            raise RemoteProtocolError(f"{cls.__name__}: fields missing or unknown: {odd:.200}")
        for value in header.values():
            if type(value) is tuple:
                check_depth(value)
        return cls(**header)


@cache
def _names_in_order(cls: type[Message]) -> tuple[str, ...]:
    return tuple(f.name for f in fields(cls))  # type: ignore[arg-type]


@cache
def _field_names(cls: type[Message]) -> frozenset[str]:
    return frozenset(_names_in_order(cls))  # type: ignore[arg-type]


def _plain(value: Any) -> Any:
    if isinstance(value, TensorEntry):
        return (value.unit, value.dtype, value.shape, value.nbytes, value.codec, value.order)
    if type(value) is tuple:
        return tuple([_plain(item) for item in value])
    return value
