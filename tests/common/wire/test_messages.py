"""Facts about the messages of the channel: valid ones cross unchanged, others cannot be built."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import limits
from common.errors import RemoteProtocolError
from common.wire import framing
from common.wire.fields import MAX_COUNT
from common.wire.framing import Prefix
from common.wire.messages import (
    MESSAGES,
    Answer,
    Bye,
    Hello,
    Infer,
    Message,
    Ping,
    Prepare,
    ProbeGrant,
    Welcome,
    printable,
)
from tests.common.wire.samples import DIGEST, SAMPLES, any_message, packed, unpacked

EVERY_TYPE = pytest.mark.parametrize("message", SAMPLES.values(), ids=lambda m: type(m).__name__)


def read(kind: type[Message], header: Any) -> Message:
    """Read `header`, whatever it is, as the header of a message of type `kind`."""
    data = msgpack.packb(header)
    return framing.parse_header(Prefix(kind, len(data), 0), data)


@EVERY_TYPE
def test_the_sample_of_every_type_crosses_unchanged(message: Message) -> None:
    """Each message of the protocol is read as what was packed."""
    assert unpacked(packed(message)) == message


@given(any_message())
def test_any_valid_message_crosses_unchanged(message: Message) -> None:
    """Packing and reading is the identity on valid messages, to the last bit of every float."""
    found = unpacked(packed(message))
    assert type(found) is type(message)
    assert found == message
    assert packed(found) == packed(message)


def test_type_bytes_are_distinct_and_stay_what_they_are() -> None:
    """A type byte is a promise to older peers: these never change their meaning."""
    names = {code: kind.__name__ for code, kind in MESSAGES.items()}
    assert names == dict(
        enumerate(
            [
                "Hello",
                "Welcome",
                "Refused",
                "ProfileRequest",
                "ProfileReply",
                "Prepare",
                "Prepared",
                "Infer",
                "Answer",
                "Busy",
                "Failed",
                "ProbeRequest",
                "ProbeGrant",
                "ProbeDenied",
                "Ping",
                "Pong",
                "Drain",
                "Bye",
                "MeasureRequest",
                "MeasureReply",
            ],
            start=1,
        )
    )


@EVERY_TYPE
def test_a_missing_field_is_refused_by_name(message: Message) -> None:
    """No field has a default on the wire."""
    header = message.header()
    for name in header:
        rest = {field: value for field, value in header.items() if field != name}
        # The tensors are read first, and their absence has a message of its own.
        with pytest.raises(RemoteProtocolError, match=name):
            read(type(message), rest)


@EVERY_TYPE
@pytest.mark.parametrize("name", ["surplus", "", "code", "__class__", b""])
def test_an_unknown_field_is_refused_by_name(message: Message, name: str | bytes) -> None:
    """A field that this version does not know is not skipped, even one whose name is no text."""
    with pytest.raises(RemoteProtocolError, match=f"fields missing or unknown: {re.escape(repr(name))}$"):
        read(type(message), message.header() | {name: 1})


@EVERY_TYPE
@pytest.mark.parametrize("header", [None, 1, "text", [], [["number", 1]], 1.5, True])
def test_a_header_that_is_no_map_is_refused(message: Message, header: Any) -> None:
    """The header is a map, and nothing that only looks like one."""
    with pytest.raises(RemoteProtocolError, match="header is no map"):
        read(type(message), header)


WRONG: dict[str, tuple[Any, ...]] = {
    "int": (True, 1.0, -1, MAX_COUNT + 1, 2**63, "1", None, math.nan, [], [1], {}, {"a": 1}, ""),
    "float": (True, -0.1, -1, math.nan, math.inf, -math.inf, float(MAX_COUNT), 2**63, "1", None, [], {}),
    "str": (1, 1.0, None, True, [], ["a"], {}, "a\nb", "a\0", "\ud7ff\u202e", "x" * 601),
    "bool": (0, 1, 0.0, None, "true", [], {}),
    "tuple": (None, 1, "ab", True, {}, [None], [[1]], [{}], ["a"], [1.0], [True], [-1], [[1, "a", 2]]),
}
"""Values that no field of a kind may have."""


def wrong_values() -> Iterator[tuple[Message, str, Any]]:
    for message in SAMPLES.values():
        for field in dataclasses.fields(message):  # type: ignore[arg-type]
            for value in WRONG[str(field.type).partition("[")[0]]:
                yield message, field.name, value


@pytest.mark.parametrize(
    ("message", "field", "value"),
    [pytest.param(m, f, v, id=f"{type(m).__name__}.{f}={v!r:.20}") for m, f, v in wrong_values()],
)
def test_a_field_of_a_wrong_kind_is_refused(message: Message, field: str, value: Any) -> None:
    """Wrong types, booleans for numbers, numbers out of range, NaN, control characters: none passes."""
    with pytest.raises(RemoteProtocolError):
        read(type(message), message.header() | {field: value})


@pytest.mark.parametrize(
    ("kind", "changes", "complaint"),
    [
        (Welcome, {"credit": 0}, r"Welcome.credit is 0, not a whole number from 1 to 1024"),
        (Welcome, {"credit": 1025}, "from 1 to 1024"),
        (Welcome, {"cloud": "x" * 201}, "at most 200 characters"),
        (ProbeGrant, {"port": 0}, "from 1 to 65535"),
        (ProbeGrant, {"port": 65536}, "from 1 to 65535"),
        (Hello, {"weights": DIGEST[:-1]}, "SHA-256"),
        (Hello, {"weights": DIGEST.upper()}, "SHA-256"),
        (Hello, {"weights": DIGEST[:-1] + "g"}, "SHA-256"),
        (Prepare, {"units": [1, 1]}, "distinct"),
        (Prepare, {"units": [limits.MAX_UNITS]}, "below 4096"),
        (Prepare, {"outputs": [[1, "a"], [1, "b"]]}, "distinct"),
        (Prepare, {"outputs": [[1, "x" * 201]]}, "destination"),
        (Prepare, {"outputs": [[1, 2]]}, "destination"),
        (Prepare, {"outputs": [[1, "two\nlines"]]}, "destination"),
        (Prepare, {"outputs": [["1", "a"]]}, "unit indices"),
        (Infer, {"tensors": [[0, "uint8", [1], 1]]}, "is not unit, dtype, shape, bytes, codec"),
        (Infer, {"tensors": [[0, "uint8", [1], 2, "raw", []]]}, "2 bytes announced"),
        (Infer, {"tensors": [[0, "uint8", [[1]], 1, "raw", []]]}, "more than 3 deep"),
        (Answer, {"tensors": [[0, "uint8", [0], 0, "raw", []]] * 257}, "at most 256"),
    ],
)
def test_bounds_hold_at_their_edges(kind: type[Message], changes: dict[str, Any], complaint: str) -> None:
    """Each bound of a field is refused one beyond it, naming message, field and bound."""
    with pytest.raises(RemoteProtocolError, match=complaint):
        read(kind, SAMPLES[kind].header() | changes)


@pytest.mark.parametrize("field", ["number", "surplus"])
@pytest.mark.parametrize("opening", [b"\x91", b"\x81\xa1a"], ids=["lists", "maps"])
@pytest.mark.parametrize("depth", [5, 300, 900, 1023, 5000])
def test_deep_nesting_is_refused_like_any_wrong_value(field: str, opening: bytes, depth: int) -> None:
    """However deep lists or maps nest in a field, the error is the peer's, not the interpreter's."""
    data = b"\x82\xa6number\x01\xa1x" if field == "surplus" else b"\x81\xa6number"
    data += opening * depth + b"\x90"
    with pytest.raises(RemoteProtocolError):
        framing.parse_header(Prefix(Ping, len(data), 0), data)


@pytest.mark.parametrize("depth", [5, 300, 900])
@pytest.mark.parametrize("opening", [b"\x91", b"\x81\xa1a"], ids=["lists", "maps"])
def test_deep_nesting_in_a_tensors_row_is_refused_too(opening: bytes, depth: int) -> None:
    """The rows of a message's tensors are read with the same care as other fields."""
    data = msgpack.packb(SAMPLES[Infer].header() | {"tensors": [None]})
    data = data.removesuffix(b"\xc0") + opening * depth + b"\x90"
    with pytest.raises(RemoteProtocolError):
        framing.parse_header(Prefix(Infer, len(data), 0), data)


@given(st.text())
def test_any_text_becomes_a_reason_that_a_message_may_carry(text: str) -> None:
    """An error's text, whatever is in it, can be said to the peer: one printable line, cut to length."""
    reason = printable(text * 20)
    assert reason.isprintable()
    assert len(reason) <= limits.MAX_REASON_CHARS
    assert unpacked(packed(Bye(reason=reason))) == Bye(reason=reason)


def test_messages_cannot_be_changed() -> None:
    """A message that was checked stays what was checked."""
    ping = Ping(number=1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        ping.number = -1  # type: ignore[misc]
