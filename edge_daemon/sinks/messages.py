"""A record on its way to a receiver, and the id that a receiver knows it again by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class Message:
    """A record's JSON (no line's end) and its id. Two records differ in it; one that is sent again has the same."""

    id: str
    record: bytes

    @classmethod
    def of(cls, record: bytes) -> Message:
        return cls(record_id(record), record)


def record_id(record: bytes) -> str:
    """Return a record's id, which is made from the record alone: whoever finds it again finds the same id."""
    return hashlib.blake2b(record, digest_size=ID_BYTES).hexdigest()


def payload_of(message: Message, edge: str) -> bytes:
    """Return the record with its id and the edge's name in front, as a JSON object."""
    return b'{"id": "%s", "edge": %s, %s' % (message.id.encode(), _quoted(edge), message.record[1:])


def batch_body(messages: Iterable[Message], edge: str) -> bytes:
    """Return several messages as one JSON object."""
    return b'{"edge": %s, "records": [%s]}' % (
        _quoted(edge),
        b", ".join(payload_of(message, edge) for message in messages),
    )


def batch_id(messages: Iterable[Message]) -> str:
    """Return the id of a batch: the same for the same messages."""
    ids = " ".join(message.id for message in messages)
    return hashlib.blake2b(ids.encode(), digest_size=ID_BYTES).hexdigest()


def _quoted(text: str) -> bytes:
    return json.dumps(text).encode()
