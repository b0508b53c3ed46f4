"""What all messages of the channel have in common: fields to and from a header."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, ClassVar, Self

from common.errors import RemoteProtocolError
from common.wire.fields import frozen
from common.wire.tensors import TensorEntry


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
            odd = ", ".join(sorted(str(name) for name in expected ^ header.keys()))
            raise RemoteProtocolError(f"{cls.__name__}: fields missing or unknown: {odd[:200]}")
        return cls(**{name: frozen(value) for name, value in header.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, TensorEntry):
        return (value.unit, value.dtype, value.shape, value.nbytes, value.codec, value.order)
    if isinstance(value, tuple):
        return tuple(_plain(item) for item in value)
    return value
