"""Facts about one connection's protocol: what may be said when, and that any cutting of the bytes is alike."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterable, Iterator

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from common import limits
from common.errors import LinkLostError, LocalProtocolError, RemoteProtocolError
from common.wire.connection import SCRATCH_BYTES, Connection, Received, Role, State
from common.wire.framing import PREFIX
from common.wire.incoming import Allocate, aligned_buffer
from common.wire.messages import (
    MESSAGES,
    Answer,
    Busy,
    Bye,
    Drain,
    Failed,
    Hello,
    Infer,
    MeasureReply,
    MeasureRequest,
    Message,
    Ping,
    Pong,
    Prepare,
    Prepared,
    ProbeDenied,
    ProbeGrant,
    ProbeRequest,
    ProfileReply,
    ProfileRequest,
    Refused,
    Welcome,
)
from tests.common.wire.samples import SAMPLES, any_message, packed, with_payload

BOTH = (Ping, Pong, Drain, Bye)
BY_EDGE = (ProfileRequest, Prepare, MeasureRequest, Infer, ProbeRequest)
BY_CLOUD = (ProfileReply, Prepared, MeasureReply, Answer, Busy, Failed, ProbeGrant, ProbeDenied)
SAYS: dict[tuple[Role, State], tuple[type[Message], ...]] = {
    (Role.EDGE, State.GREETING): (Hello, Bye),
    (Role.EDGE, State.OPEN): BY_EDGE + BOTH,
    (Role.EDGE, State.DRAINING): BY_EDGE + BOTH,
    (Role.EDGE, State.CLOSED): (),
    (Role.CLOUD, State.GREETING): (Welcome, Refused, Bye),
    (Role.CLOUD, State.OPEN): BY_CLOUD + BOTH,
    (Role.CLOUD, State.DRAINING): BY_CLOUD + BOTH,
    (Role.CLOUD, State.CLOSED): (),
}
"""The protocol's table, written down a second time."""
LEADS_TO: dict[type[Message], State] = {
    Welcome: State.OPEN,
    Refused: State.CLOSED,
    Drain: State.DRAINING,
    Bye: State.CLOSED,
}

EVERY_CASE = pytest.mark.parametrize(
    ("role", "state", "kind"),
    [
        pytest.param(role, state, kind, id=f"{role.name}-{state.name}-{kind.__name__}")
        for role, state, kind in itertools.product(Role, State, MESSAGES.values())
    ],
)
EVERY_ROLE = pytest.mark.parametrize("role", list(Role), ids=lambda role: role.name)


def in_state(role: Role, state: State) -> Connection:
    connection = Connection(role, 0.0)
    connection.state = state
    return connection


def opened(role: Role, now: float = 0.0, allocate: Allocate = aligned_buffer) -> Connection:
    """A connection whose handshake was done at `now`."""
    connection = Connection(role, now, allocate)
    if role is Role.EDGE:
        connection.send(SAMPLES[Hello])
        assert [event.message for event in connection.feed(packed(SAMPLES[Welcome]), now)]
    else:
        assert [event.message for event in connection.feed(packed(SAMPLES[Hello]), now)]
        connection.send(SAMPLES[Welcome])
    assert connection.state is State.OPEN
    return connection


def other(role: Role) -> Role:
    return Role.CLOUD if role is Role.EDGE else Role.EDGE


Heard = list[tuple[Message, bytes]]


def hear(connection: Connection, chunks: Iterable[bytes]) -> tuple[Heard, str | None]:
    """Feed chunks of a stream; return what was heard, and the error that ended it, if one did."""
    heard: Heard = []
    try:
        for chunk in chunks:
            for event in connection.feed(chunk, 0.0):
                heard.append((event.message, bytes(event.payload)))
    except RemoteProtocolError as error:
        return heard, str(error)
    return heard, None


def cut(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    """Cut `data` into pieces of these sizes, over and over."""
    at = 0
    for size in itertools.cycle(sizes or [1]):
        if at >= len(data):
            return
        yield data[at : at + size]
        at += size


# --- the table ------------------------------------------------------------------------------------------
@EVERY_CASE
def test_saying(role: Role, state: State, kind: type[Message]) -> None:
    """One may say exactly what the table allows; anything else is an error of our own and changes nothing."""
    connection = in_state(role, state)
    if kind in SAYS[role, state]:
        assert b"".join(connection.send(SAMPLES[kind])) == packed(SAMPLES[kind])
        assert connection.state is LEADS_TO.get(kind, state)
    else:
        with pytest.raises(LocalProtocolError, match=f"{kind.__name__} by the {role.name} in {state.name}"):
            connection.send(SAMPLES[kind])
        assert connection.state is state


@EVERY_CASE
def test_hearing(role: Role, state: State, kind: type[Message]) -> None:
    """One hears exactly what the other side may say then; anything else is its error and closes."""
    connection = in_state(role, state)
    heard, error = hear(connection, [packed(SAMPLES[kind])])
    if state is State.CLOSED:
        assert (heard, error) == ([], None)
    elif kind in SAYS[other(role), state]:
        assert (heard, error) == ([(SAMPLES[kind], b"")], None)
        assert connection.state is LEADS_TO.get(kind, state)
    else:
        assert (heard, error) == ([], f"{kind.__name__} from the {other(role).name} in {state.name}")
        assert connection.state is State.CLOSED


def test_a_second_hello_is_refused() -> None:
    """An edge greets once, even while the cloud has not answered yet."""
    connection = Connection(Role.CLOUD, 0.0)
    heard, error = hear(connection, [packed(SAMPLES[Hello]) * 2])
    assert heard == [(SAMPLES[Hello], b"")]
    assert error == "Hello from the EDGE in GREETING"


@EVERY_ROLE
def test_a_forbidden_message_is_refused_by_its_prefix(role: Role) -> None:
    """Sixteen bytes suffice to refuse it: nothing of it is waited for, read or allocated."""
    connection = Connection(role, 0.0)
    _, error = hear(connection, [packed(SAMPLES[Ping])[: PREFIX.size]])
    assert error == f"Ping from the {other(role).name} in GREETING"


@EVERY_ROLE
def test_nothing_is_heard_after_bye(role: Role) -> None:
    """What follows a Bye, be it garbage, is nobody's business."""
    connection = opened(role)
    assert hear(connection, [packed(SAMPLES[Bye]) + packed(SAMPLES[Ping]) + b"garbage"]) == (
        [(SAMPLES[Bye], b"")],
        None,
    )
    assert hear(connection, [b"more"]) == ([], None)


def test_a_message_longer_than_allowed_is_not_said() -> None:
    """Our own message beyond a limit is refused before the peer sees any of it, and the state stays."""
    connection = opened(Role.EDGE)
    with pytest.raises(LocalProtocolError, match="payload of 1 bytes, 0 are allowed"):
        connection.send(SAMPLES[Bye], [b"x"])
    assert connection.state is State.OPEN


def test_a_payload_is_sent_as_the_buffers_it_came_in() -> None:
    """Tensors are not copied: the buffers to write are the head and the caller's own."""
    chunks: list[memoryview | bytes] = [memoryview(bytes(5)), b"", np.arange(3, dtype=np.float32).data]
    head, *rest = opened(Role.EDGE).send(SAMPLES[Infer], chunks)
    assert all(found is given_ for found, given_ in zip(rest, chunks, strict=True))
    assert PREFIX.unpack(bytes(head[: PREFIX.size]))[4] == 5 + 12  # bytes, not elements


# --- whole, byte by byte, in random chunks ---------------------------------------------------------------
def conversations(longest: int) -> st.SearchStrategy[tuple[Role, bytes, Heard]]:
    """What one side says in a session after the greeting, whose hearer's role is given."""

    def of(role: Role) -> st.SearchStrategy[tuple[Role, bytes, Heard]]:
        kinds = [kind for kind in SAYS[other(role), State.OPEN] if kind is not Bye]
        said = st.lists(any_message(*kinds).flatmap(lambda m: with_payload(m, longest)), max_size=6)
        return said.map(lambda pairs: (role, b"".join(packed(m, p) for m, p in pairs), pairs))

    return st.sampled_from(list(Role)).flatmap(of)


@given(conversations(200), st.lists(st.integers(1, 90), max_size=8))
def test_the_same_is_heard_however_the_bytes_arrive(
    conversation: tuple[Role, bytes, Heard], sizes: list[int]
) -> None:
    """Whole, byte by byte or in random chunks: the same messages with the same payloads, in order."""
    role, data, said = conversation
    for chunks in ([data], cut(data, [1]), cut(data, sizes)):
        assert hear(opened(role), chunks) == (said, None)


@settings(max_examples=25)
@given(
    st.lists(st.sampled_from([0, 1, 63, SCRATCH_BYTES - 40, SCRATCH_BYTES, 70_000]), min_size=1, max_size=4),
    st.lists(st.sampled_from([1, 16, 17, 4096, SCRATCH_BYTES, 65_536]), min_size=1, max_size=4),
)
@example([SCRATCH_BYTES], [SCRATCH_BYTES])
def test_long_payloads_are_heard_however_they_arrive(lengths: list[int], sizes: list[int]) -> None:
    """Payloads that span many reads, and messages that end and begin in one read, arrive whole."""
    sizes = [*sizes, 997]  # so that single bytes alone do not make it slow
    said: Heard = [
        (Ping(number=i), bytes(i + j & 0xFF for j in range(length))) for i, length in enumerate(lengths)
    ]
    data = b"".join(packed(message, payload) for message, payload in said)
    assert hear(opened(Role.CLOUD), cut(data, sizes)) == (said, None)


@given(st.lists(st.integers(1, 20_000), min_size=1, max_size=4))
def test_payloads_lie_where_tensors_can_be_used(lengths: list[int]) -> None:
    """Every payload is a buffer of its own, at a multiple of 64, and stays as it was heard."""
    connection = opened(Role.CLOUD)
    data = b"".join(packed(Ping(number=i), bytes([i]) * n) for i, n in enumerate(lengths))
    events = [event for chunk in cut(data, [1000]) for event in connection.feed(chunk, 0.0)]
    for i, (event, length) in enumerate(zip(events, lengths, strict=True)):
        assert np.frombuffer(event.payload, np.uint8).ctypes.data % limits.TENSOR_ALIGNMENT == 0
        assert bytes(event.payload) == bytes([i]) * length
        assert not event.payload.readonly


def test_a_payload_is_read_straight_into_its_buffer() -> None:
    """Once a header is complete, the buffer for the next read is the rest of the payload itself."""
    connection = opened(Role.CLOUD)
    data = packed(SAMPLES[Ping], bytes(50_000))
    head = len(data) - 50_000
    assert connection.next_buffer().nbytes == SCRATCH_BYTES
    assert hear(connection, [data[: head + 10]]) == ([], None)
    buffer = connection.next_buffer()
    assert buffer.nbytes == 50_000 - 10
    buffer[:] = b"\x07" * buffer.nbytes
    (event,) = connection.received(buffer.nbytes, 0.0)
    buffer[0] = 8
    assert event.payload[10] == 8, "the payload is the buffer that was read into"
    assert connection.next_buffer().nbytes == SCRATCH_BYTES


# --- what tells the bandwidth -----------------------------------------------------------------------------
def arrivals(connection: Connection, reads: list[tuple[float, bytes]]) -> list[Received]:
    return [event for at, chunk in reads for event in connection.feed(chunk, at)]


def test_a_message_in_one_read_tells_no_bandwidth() -> None:
    """All there at once: no bytes were spaced, and no time passed."""
    (event,) = arrivals(opened(Role.CLOUD), [(5.0, packed(SAMPLES[Ping], bytes(1000)))])
    assert (event.receive_s, event.spaced_bytes, event.at) == (0.0, 0, 5.0)


def test_only_what_follows_the_header_is_timed() -> None:
    """The time runs from the read that completed the header to the last byte, over the bytes in between."""
    data = packed(SAMPLES[Ping], bytes(1000))
    head = len(data) - 1000
    reads = [(1.0, data[:20]), (2.0, data[20 : head + 100]), (2.5, data[head + 100 : -1]), (4.0, data[-1:])]
    (event,) = arrivals(opened(Role.CLOUD), reads)
    assert (event.receive_s, event.spaced_bytes, event.at) == (2.0, 900, 4.0)


def test_what_came_before_a_message_does_not_count_for_it() -> None:
    """A message whose header ends a read that completed another one is timed from that read on."""
    first, second = packed(SAMPLES[Ping], bytes(500)), packed(SAMPLES[Ping], bytes(300))
    reads = [(1.0, first[:-100]), (3.0, first[-100:] + second[:-200]), (3.5, second[-200:])]
    one, two = arrivals(opened(Role.CLOUD), reads)
    assert (one.receive_s, one.spaced_bytes) == (2.0, 100)
    assert (two.receive_s, two.spaced_bytes) == (0.5, 200)


# --- garbage ----------------------------------------------------------------------------------------------
def heard_or_refused(connection: Connection, data: bytes, sizes: list[int]) -> None:
    """Feed bytes that may be anything: valid messages, then waiting for more, or the one error."""
    heard, error = hear(connection, cut(data, sizes))
    for message, payload in heard:
        assert packed(message, payload)
    if error is not None:
        assert connection.state is State.CLOSED
        assert hear(connection, [packed(SAMPLES[Ping])]) == ([], None)
    elif connection.state is not State.CLOSED:
        assert connection.next_buffer().nbytes > 0


@EVERY_ROLE
@pytest.mark.parametrize("greeting", [True, False])
@given(data=st.binary(max_size=400), sizes=st.lists(st.integers(1, 50), max_size=4))
def test_garbage_is_refused(role: Role, greeting: bool, data: bytes, sizes: list[int]) -> None:
    """Random bytes raise the remote error or wait for more, and nothing else."""
    heard_or_refused(Connection(role, 0.0) if greeting else opened(role), data, sizes)


@EVERY_ROLE
@given(
    st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=60), st.integers(0, 100)), max_size=4),
    st.lists(st.integers(1, 50), max_size=4),
)
def test_garbage_behind_true_prefixes_is_refused(
    role: Role, parts: list[tuple[int, bytes, int]], sizes: list[int]
) -> None:
    """Random headers and payloads of the announced lengths get no further than headers are read."""
    data = b"".join(
        struct.pack(">4sBBHQ", b"CLV1", code, 0, len(header), payload) + header + bytes(payload)
        for code, header, payload in parts
    )
    heard_or_refused(opened(role), data, sizes)


damages = st.lists(
    st.tuples(
        st.sampled_from(["change", "insert", "remove", "cut"]), st.integers(0, 999), st.binary(max_size=4)
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=300)
@given(conversations(60), damages, st.lists(st.integers(1, 90), max_size=4), st.booleans())
def test_damaged_streams_are_refused(
    conversation: tuple[Role, bytes, Heard],
    damage: list[tuple[str, int, bytes]],
    sizes: list[int],
    greeting: bool,
) -> None:
    """A valid stream that was changed, torn or stretched anywhere is heard up to there, then refused."""
    role, data, _ = conversation
    if greeting:
        data = packed(SAMPLES[Hello if role is Role.CLOUD else Welcome]) + data
    stream = bytearray(data)
    for kind, place, new in damage:
        at = place % (len(stream) + 1)
        if kind == "change":
            stream[at : at + len(new)] = new
        elif kind == "insert":
            stream[at:at] = new
        elif kind == "remove":
            del stream[at : at + len(new)]
        else:
            del stream[at:]
    heard_or_refused(Connection(role, 0.0) if greeting else opened(role), bytes(stream), sizes)


@given(
    st.booleans(),
    st.lists(
        st.tuples(
            st.integers(0, 20),
            st.integers(0, 2**16 - 1),
            st.sampled_from([0, 9, 4000, 2**26, 2**26 + 1, 2**63]),
        ),
        max_size=3,
    ),
)
def test_nothing_is_allocated_beyond_the_limits(greeting: bool, prefixes: list[tuple[int, int, int]]) -> None:
    """Whatever lengths prefixes announce, no buffer is larger than allowed then, and none comes before a header."""
    most = limits.MAX_GREETING_BYTES if greeting else limits.MAX_PAYLOAD_BYTES
    sizes: list[int] = []

    def allocate(nbytes: int) -> memoryview:
        sizes.append(nbytes)
        return aligned_buffer(min(nbytes, 100))

    connection = Connection(Role.CLOUD, 0.0, allocate) if greeting else opened(Role.CLOUD, allocate=allocate)
    sizes.clear()  # the greeting's own
    for code, header, payload in prefixes:
        data = struct.pack(">4sBBHQ", b"CLV1", code, 0, header, payload)
        hear(connection, [data])
        assert sizes == [], "allocated before the header was there"
        hear(connection, [packed(SAMPLES[Ping])[PREFIX.size :][:header]])
        if sizes:
            break
    assert all(size <= most for size in sizes)


def test_the_largest_payload_is_allowed_only_after_the_greeting() -> None:
    """A stranger's 64 MiB are refused by their prefix; a session's are taken."""
    data = struct.pack(">4sBBHQ", b"CLV1", Infer.code, 0, 9, limits.MAX_PAYLOAD_BYTES)
    assert hear(opened(Role.CLOUD), [data]) == ([], None)
    _, error = hear(Connection(Role.CLOUD, 0.0), [data])
    assert error is not None
    assert "before the handshake is done" in error


# --- time -------------------------------------------------------------------------------------------------
@EVERY_ROLE
def test_a_handshake_has_a_deadline(role: Role) -> None:
    """Five seconds from the beginning; bytes that trickle in do not extend it."""
    connection = Connection(role, 100.0)
    assert connection.on_time(104.9) is None
    assert list(connection.feed(packed(SAMPLES[Hello])[:5] if role is Role.CLOUD else b"CL", 104.9)) == []
    connection.progressed(104.95)
    with pytest.raises(LinkLostError, match="no handshake within 5 s"):
        connection.on_time(105.0)
    assert connection.state is State.CLOSED
    assert connection.on_time(200.0) is None


def test_the_edge_pings_each_second() -> None:
    """Pings are numbered, and due one interval after the last; the cloud sends none of its own."""
    edge, cloud = opened(Role.EDGE), opened(Role.CLOUD)
    assert edge.on_time(0.99) is None
    assert edge.on_time(1.0) == Ping(number=1)
    assert edge.on_time(1.9) is None
    assert edge.on_time(2.1) == Ping(number=2)
    assert cloud.on_time(2.1) is None


@EVERY_ROLE
def test_a_silent_peer_is_dead_after_five_seconds(role: Role) -> None:
    """Silence past the deadline is a lost link; any byte of the peer starts it anew."""
    connection = opened(role, 10.0)
    connection.on_time(14.75)
    assert list(connection.feed(packed(SAMPLES[Ping])[:1], 14.75)) == []
    assert connection.silent_for(15.75) == 1.0
    connection.on_time(19.5)
    with pytest.raises(LinkLostError, match=r"silent for 5.0 s"):
        connection.on_time(19.75)
    assert connection.state is State.CLOSED


@EVERY_ROLE
def test_a_peer_that_takes_our_bytes_is_alive(role: Role) -> None:
    """During a long upload the peer says nothing, and is not given up while its kernel confirms bytes."""
    connection = opened(role)
    for second in range(1, 60):
        connection.progressed(float(second))
        connection.on_time(second + 0.5)
    with pytest.raises(LinkLostError):
        connection.on_time(59.0 + limits.DEAD_AFTER_S)


def test_draining_does_not_end_the_watch() -> None:
    """A peer that drains and falls silent is given up like any other."""
    connection = opened(Role.EDGE)
    connection.send(SAMPLES[Drain])
    assert connection.on_time(1.0) == Ping(number=1)
    with pytest.raises(LinkLostError):
        connection.on_time(5.0)


def test_pings_that_are_never_answered_are_forgotten() -> None:
    """A peer that says everything but Pong does not fill the memory with pings: the last 256 are waited for."""
    connection = opened(Role.EDGE)
    pings = [connection.ping(float(i)) for i in range(1_000)]
    assert len(connection._ping_sent_at) == 256
    last = Pong(number=pings[-1].number, receive_ms=0, spaced_bytes=0)
    assert connection.round_trip_s(last, 1_000.0) == 1.0
    with pytest.raises(RemoteProtocolError, match="answers no ping"):
        connection.round_trip_s(Pong(number=pings[0].number, receive_ms=0, spaced_bytes=0), 1_000.0)


def test_round_trips_are_told_by_number() -> None:
    """A Pong is timed from its own ping, answers it once, and one that answers none is the peer's error."""
    connection = opened(Role.EDGE)
    first, second = connection.ping(1.0), connection.ping(2.0)
    assert connection.round_trip_s(Pong(number=second.number, receive_ms=0, spaced_bytes=0), 2.5) == 0.5
    assert connection.round_trip_s(Pong(number=first.number, receive_ms=0, spaced_bytes=0), 3.0) == 2.0
    for number in (first.number, 99):
        with pytest.raises(RemoteProtocolError, match=f"Pong {number} answers no ping"):
            connection.round_trip_s(Pong(number=number, receive_ms=0, spaced_bytes=0), 4.0)


# --- the end ----------------------------------------------------------------------------------------------
@EVERY_ROLE
@pytest.mark.parametrize("greeting", [True, False])
def test_the_end_between_messages_is_in_order(role: Role, greeting: bool) -> None:
    """A peer may close without a Bye when it owes nothing."""
    connection = Connection(role, 0.0) if greeting else opened(role)
    connection.eof()
    assert connection.state is State.CLOSED


@pytest.mark.parametrize("missing", [1, 500, 1000, 1005, 1020])
def test_the_end_within_a_message_is_a_lost_link(missing: int) -> None:
    """Whether prefix, header or payload is torn, the message was lost, and that is told."""
    connection = opened(Role.CLOUD)
    data = packed(SAMPLES[Ping], bytes(1000))
    assert len(data) - missing > 0
    assert hear(connection, [data[:-missing]]) == ([], None)
    with pytest.raises(LinkLostError, match="in the middle of a message"):
        connection.eof()
    assert connection.state is State.CLOSED
    connection.eof()  # once it is closed, the end is no news


@pytest.mark.parametrize("nbytes", [0, 1, 63, 64, 65, 4097])
def test_buffers_are_aligned_and_writable(nbytes: int) -> None:
    """A buffer has exactly the bytes asked for, at a multiple of the alignment."""
    buffer = aligned_buffer(nbytes)
    assert buffer.nbytes == nbytes
    assert not buffer.readonly
    if nbytes:
        assert np.frombuffer(buffer, np.uint8).ctypes.data % limits.TENSOR_ALIGNMENT == 0


def test_payloads_are_received_into_the_memory_that_is_given() -> None:
    """A payload lies where the allocator said, once, whole, and is handed on without a copy."""
    given: list[memoryview] = []

    def allocate(nbytes: int) -> memoryview:
        given.append(memoryview(bytearray(nbytes)))
        return given[-1]

    connection = opened(Role.CLOUD, allocate=allocate)
    given.clear()
    payload = bytes(range(250)) * 400
    (event,) = list(connection.feed(packed(SAMPLES[Infer], payload), 0.0))
    (memory,) = given
    assert event.payload.obj is memory.obj
    assert bytes(memory) == payload
