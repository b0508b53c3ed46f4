"""Facts about memory: a stream takes at most twice its length and a MiB, whatever it announces."""

from __future__ import annotations

import contextlib
import itertools
import tracemalloc
from pathlib import Path

import msgpack
import pytest

from common import limits
from common.errors import RemoteProtocolError
from common.wire.connection import Connection, Received, Role, State
from common.wire.framing import MAGIC, PREFIX
from common.wire.messages import MESSAGES, WITH_PAYLOAD, Answer, Infer, Message
from tests.common.wire.samples import SAMPLES
from tests.fuzz.mutants import mutants

ROOM = limits.MIB
PAGE = 2 * limits.MIB
"""What the kernel may give for the first byte of a large block, where it uses huge pages."""


def taken(role: Role, state: State, stream: bytes) -> int:
    """The most memory that hearing `stream` takes, less what was announced as payload and has not come.

    That is set aside, but no memory yet: see `test_what_is_announced_takes_no_memory_before_it_comes`.
    """
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    connection = Connection(role, 0.0)
    connection.state = state
    kept: list[Received] = []
    with contextlib.suppress(RemoteProtocolError):
        kept.extend(connection.feed(stream, 0.0))  # a listener may keep all it is told
    _, most = tracemalloc.get_traced_memory()
    payload = connection._payload
    return most - before - (payload.next_buffer().nbytes if payload is not None else 0)


def resident_bytes() -> int:
    """This process's memory that is really there."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.usefixtures("traced")
def test_a_sample_of_mutants_stays_within_the_bound() -> None:
    """Two thousand mutants, and all of ten thousand that announce more than they bring."""
    for number, mutant in enumerate(mutants(500_000, 10_000)):
        boastful = mutant.way == "prefix" and len(mutant.stream) < 2_000
        if number < 2_000 or boastful:
            most = taken(mutant.role, mutant.state, mutant.stream)
            assert most <= 2 * len(mutant.stream) + ROOM, f"mutant {500_000 + number}: {most} bytes"


COSTLY = {
    "empty lists": b"\x90",
    "lists of one": b"\x91\xc0",
    "lists in lists": b"\x91",
    "empty maps": b"\x80",
    "maps of one": b"\x81\xa0\xc0",
    "maps in maps": b"\x81\xa0",
    "short texts": b"\xa2ab",
    "numbers": b"\xcd\x7f\xff",
    "floats": b"\xca\x00\x00\x00\x01",
    "pairs": b"\x92\xcd\x10\x00\xa2ab",
    "rows": b"\x96\x01\xa5uint8\x91\x03\x03\xa3raw\x90",
}
"""What takes much more memory than bytes on the wire."""


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("item", COSTLY.values(), ids=COSTLY)
def test_the_costliest_headers_stay_within_the_bound(item: bytes) -> None:
    """As much as a header holds of what takes most, in one list or in several, in any field of any message."""
    for message, lists in itertools.product(SAMPLES.values(), (1, 4)):
        for name in message.header():
            header = filled(message, name, item, lists)
            stream = PREFIX.pack(MAGIC, message.code, 0, len(header), 0) + header
            for role in Role:
                assert taken(role, State.OPEN, stream) <= 2 * len(stream) + ROOM


def filled(message: Message, name: str, item: bytes, lists: int) -> bytes:
    """A header of the greatest length, whose field `name` holds `item` over and over, in so many lists."""
    rest = {field: value for field, value in message.header().items() if field != name}
    start: bytes = bytes([0x80 | len(rest) + 1]) + msgpack.packb(rest)[1:] + msgpack.packb(name)
    outer = bytes([0x90 | lists]) if lists > 1 else b""
    room = limits.MAX_HEADER_BYTES - len(start) - len(outer) - 3 * lists
    count = min(room // len(item) // lists, limits.MAX_UNITS)
    return start + outer + (b"\xdc" + count.to_bytes(2, "big") + item * count) * lists


@pytest.mark.parametrize("kind", [Infer, Answer], ids=lambda kind: kind.__name__)
def test_what_is_announced_takes_no_memory_before_it_comes(kind: type[Message]) -> None:
    """Sixteen peers that announce 64 MiB each and bring a byte take sixteen pages, not a GiB."""
    header = msgpack.packb(SAMPLES[kind].header())
    role = Role.CLOUD if kind is Infer else Role.EDGE
    stream = PREFIX.pack(MAGIC, SAMPLES[kind].code, 0, len(header), limits.MAX_PAYLOAD_BYTES) + header + b"x"
    before = resident_bytes()
    connections = []
    for _ in range(16):
        connection = Connection(role, 0.0)
        connection.state = State.OPEN
        assert list(connection.feed(stream, 0.0)) == []
        assert connection._payload is not None
        assert connection._payload.view.nbytes == limits.MAX_PAYLOAD_BYTES
        connections.append(connection)
    assert resident_bytes() - before <= len(connections) * (2 * len(stream) + ROOM + PAGE)


@pytest.mark.parametrize("state", [State.GREETING, State.OPEN], ids=lambda state: state.name)
@pytest.mark.parametrize("kind", MESSAGES.values(), ids=lambda kind: kind.__name__)
def test_no_length_beyond_the_limits_is_set_aside(kind: type[Message], state: State) -> None:
    """Every message type with every announced length up to 2⁶⁴: refused by the prefix, or within its limit."""
    for bits in range(65):
        for payload in {max(0, 2**bits - 1), min(2**bits, 2**64 - 1)}:
            for header in (0, 16, limits.MAX_HEADER_BYTES, 65_535):
                for role in Role:
                    connection = Connection(role, 0.0)
                    connection.state = state
                    prefix = PREFIX.pack(MAGIC, SAMPLES[kind].code, 0, header, payload)
                    try:
                        list(connection.feed(prefix, 0.0))
                    except RemoteProtocolError:
                        assert connection._payload is None
                        continue
                    most = limits.MAX_GREETING_BYTES if state is State.GREETING else WITH_PAYLOAD.get(kind, 0)
                    assert payload <= most
                    assert header <= limits.MAX_HEADER_BYTES
