"""Facts about prefixes and headers: what is too long, foreign or not exactly one map of fields is refused."""

from __future__ import annotations

import struct

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import limits
from common.errors import LocalProtocolError, RemoteProtocolError
from common.wire.framing import PREFIX, Prefix, pack, parse_header, parse_prefix
from common.wire.messages import MESSAGES, WITH_PAYLOAD, Bye, Infer, Message, Ping, Prepare
from tests.common.wire.samples import SAMPLES, packed

EVERY_TYPE = pytest.mark.parametrize("kind", list(MESSAGES.values()), ids=lambda kind: kind.__name__)


def prefix(
    code: int = 15, *, magic: bytes = b"CLV1", flags: int = 0, header: int = 10, payload: int = 0
) -> bytes:
    return struct.pack(">4sBBHQ", magic, code, flags, header, payload)


def read(header: bytes, kind: type[Message] = Ping) -> Message:
    return parse_header(Prefix(kind, len(header), 0), header)


def test_the_layout_on_the_wire() -> None:
    """The bytes of a message are what the protocol's description says, so other languages can speak it."""
    assert pack(Ping(number=5), 300) == (
        b"CLV1" + bytes([15, 0]) + (9).to_bytes(2, "big") + (300).to_bytes(8, "big") + b"\x81\xa6number\x05"
    )


@EVERY_TYPE
@given(header=st.integers(0, limits.MAX_HEADER_BYTES), share=st.floats(0, 1))
def test_a_prefix_within_the_limits_is_read(kind: type[Message], header: int, share: float) -> None:
    """Type and lengths come out as they were put in, for every type."""
    payload = int(WITH_PAYLOAD.get(kind, 0) * share)
    found = parse_prefix(prefix(kind.code, header=header, payload=payload), greeting=False)
    assert found == Prefix(kind, header, payload)


@EVERY_TYPE
def test_lengths_beyond_the_limits_are_refused(kind: type[Message]) -> None:
    """One byte more than a limit is refused from the prefix alone; most types may have no payload at all."""
    most = WITH_PAYLOAD.get(kind, 0)
    parse_prefix(prefix(kind.code, header=limits.MAX_HEADER_BYTES, payload=most), greeting=False)
    with pytest.raises(RemoteProtocolError, match=f"{kind.__name__}: header of 16385 bytes, 16384 are"):
        parse_prefix(prefix(kind.code, header=limits.MAX_HEADER_BYTES + 1), greeting=False)
    for payload in (most + 1, 2**64 - 1):
        with pytest.raises(RemoteProtocolError, match=f"{kind.__name__}: payload of {payload} bytes, {most}"):
            parse_prefix(prefix(kind.code, payload=payload), greeting=False)


@EVERY_TYPE
def test_the_greeting_has_smaller_limits(kind: type[Message]) -> None:
    """Before the handshake header and payload together stay within 4 KiB."""
    parse_prefix(prefix(kind.code, header=4096), greeting=True)
    with pytest.raises(RemoteProtocolError, match="4097 bytes before the handshake is done, 4096"):
        parse_prefix(prefix(kind.code, header=4097), greeting=True)
    if kind in WITH_PAYLOAD:
        with pytest.raises(RemoteProtocolError, match="4097 bytes before the handshake"):
            parse_prefix(prefix(kind.code, header=1, payload=4096), greeting=True)


@pytest.mark.parametrize("magic", [b"CLV2", b"GET ", b"\x16\x03\x01\x02", bytes(4), b"SSH-"])
def test_a_foreign_protocol_is_told_by_its_first_bytes(magic: bytes) -> None:
    """A web browser, TLS or another version of Cleave is refused with what it began with."""
    with pytest.raises(RemoteProtocolError, match="this is no Cleave peer"):
        parse_prefix(prefix(magic=magic), greeting=True)


@pytest.mark.parametrize("code", sorted(set(range(256)) - set(MESSAGES)))
def test_an_unknown_type_is_refused(code: int) -> None:
    """No type byte is skipped because this version does not know it."""
    with pytest.raises(RemoteProtocolError, match=f"message type {code} is not known"):
        parse_prefix(prefix(code), greeting=False)


@pytest.mark.parametrize("flags", [1, 2, 0x80, 0xFF])
def test_flags_are_refused_while_none_is_defined(flags: int) -> None:
    """A flag might change a message's meaning, so none is ignored."""
    with pytest.raises(RemoteProtocolError, match=f"flags {flags:#04x}"):
        parse_prefix(prefix(flags=flags), greeting=False)


@given(st.binary(min_size=16, max_size=16), st.booleans())
def test_any_sixteen_bytes_are_a_prefix_or_the_peers_error(data: bytes, greeting: bool) -> None:
    """Reading a prefix fails in one way only, and never lets a length beyond the limits through."""
    try:
        found = parse_prefix(data, greeting=greeting)
    except RemoteProtocolError:
        return
    assert found.header_bytes + found.payload_bytes <= limits.MAX_HEADER_BYTES + limits.MAX_PAYLOAD_BYTES


@pytest.mark.parametrize(
    ("header", "complaint"),
    [
        (b"", "no valid msgpack"),
        (b"\x81", "no valid msgpack"),
        (b"\x81\xa6number\x01\x00", "no valid msgpack"),  # a byte too many
        (b"\x82\xa6number\x01\xa6number\x02", "the same field twice"),
        (b"\x82\xa6number\x01\xa6number\x01", "the same field twice"),
        (b"\xc1", "no valid msgpack"),  # never used in msgpack
        (b"\x81\x01\x01", "no valid msgpack"),  # a number as a key
        (b"\x81\xc0\x01", "no valid msgpack"),  # nil as a key
        (b"\x81\x90\x01", "no valid msgpack"),  # a list as a key
        (b"\x81\xa6number\xd4\x05\x00", "no valid msgpack|extension"),  # fixext 1
        (b"\x81\xa6number\xc7\x00\x05", "extension type 5 is not allowed"),  # ext 8 of no bytes
        (b"\x81\xa6number\xd6\xff\x00\x00\x00\x00", "no valid msgpack|Timestamp"),
        (b"\x81\xa6number\xc4\x01a", "no valid msgpack"),  # bytes
        (b"\x81\xa6n\xffmber\x01", "no valid msgpack"),  # not UTF-8
        (b"\xdf\xff\xff\xff\xff", "no valid msgpack"),  # a map that claims four milliards of entries
        (b"\xdd\xff\xff\xff\xff", "no valid msgpack"),  # a list that does
        (b"\xdb\xff\xff\xff\xff", "no valid msgpack"),  # a text that does
    ],
)
def test_a_header_that_is_not_exactly_one_plain_map_is_refused(header: bytes, complaint: str) -> None:
    """Torn, trailing, doubled, extended, binary and boastful headers are all the peer's error."""
    with pytest.raises(RemoteProtocolError, match=complaint):
        read(header)


def test_a_map_of_many_fields_is_refused_unread() -> None:
    """No message has more than 32 fields, so a longer map is not even built."""
    with pytest.raises(RemoteProtocolError, match="no valid msgpack"):
        read(msgpack.packb({f"f{i}": 0 for i in range(33)}))


@pytest.mark.parametrize("opening", [b"\x90", b"\x80", b"\x91", b"\x81\xa0"])
def test_a_header_full_of_nesting_is_refused(opening: bytes) -> None:
    """As many lists or maps as fit into a header, one in another or side by side, are refused."""
    count = limits.MAX_HEADER_BYTES // len(opening)
    for header in (opening * count, b"\xdc" + (count - 3).to_bytes(2, "big") + opening * (count - 3)):
        with pytest.raises(RemoteProtocolError):
            read(header)


@given(st.binary(max_size=300), st.sampled_from(list(MESSAGES.values())))
def test_any_bytes_are_a_valid_header_or_the_peers_error(header: bytes, kind: type[Message]) -> None:
    """Reading a header fails in one way only."""
    try:
        message = read(header, kind)
    except RemoteProtocolError:
        return
    assert type(message) is kind


@given(
    st.sampled_from(list(SAMPLES.values())),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=3),
)
def test_a_damaged_header_is_valid_or_the_peers_error(
    message: Message, damage: list[tuple[int, int]]
) -> None:
    """Whichever bytes of a valid header are changed, the reader raises its one error or reads a valid one."""
    header = bytearray(packed(message)[PREFIX.size :])
    for at, value in damage:
        if header:
            header[at % len(header)] = value
    try:
        found = read(bytes(header), type(message))
    except RemoteProtocolError:
        return
    assert packed(found)  # what was read can be said again


def test_our_own_message_beyond_the_limits_is_our_error() -> None:
    """What the peer would refuse is not sent: the error is local, and says how long it would have been."""
    with pytest.raises(LocalProtocolError, match="Bye: payload of 1 bytes, 0 are allowed"):
        pack(Bye(reason=""), 1)
    with pytest.raises(LocalProtocolError, match=f"payload of {limits.MAX_PAYLOAD_BYTES + 1} bytes"):
        pack(SAMPLES[Infer], limits.MAX_PAYLOAD_BYTES + 1)
    long = Prepare(
        epoch=1, units=tuple(range(limits.MAX_UNITS)), inputs=tuple(range(limits.MAX_UNITS)), outputs=()
    )
    with pytest.raises(LocalProtocolError, match=r"Prepare: header of \d+ bytes, 16384 are allowed"):
        pack(long, 0)
