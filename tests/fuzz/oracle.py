"""What must hold of any stream of bytes: it is parsed, or it is the peer's protocol error, and nothing else.

And it makes no difference how the network cut it: whole, byte by byte, in any chunks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from common.errors import LinkLostError, RemoteProtocolError
from common.wire.connection import Connection, Role, State
from common.wire.messages import Message
from tests.fuzz.mutants import Mutant

DEPTHS: Sequence[tuple[str, str]] = (
    ("starts with", "1 prefix: foreign"),
    ("message type", "1 prefix: unknown type"),
    ("flags", "1 prefix: flags"),
    ("header of", "1 prefix: lengths"),
    (" are allowed", "1 prefix: lengths"),
    (" from the ", "2 said at the wrong time"),
    ("no valid msgpack", "3 header: no msgpack"),
    ("the same field twice", "3 header: a field twice"),
    ("extension type", "3 header: extension type"),
    ("header is no map", "3 header: no map"),
    ("fields missing", "4 fields missing or unknown"),
    ("a map in", "4 fields: a map"),
    ("nested", "4 fields: nested"),
    ("tensors: ", "5 tensors: rows"),
    ("tensor of unit", "6 tensors: an entry"),
    ("decoded; the limit", "6 tensors: together too large"),
    (", not ", "5 values"),
)
"""What an error says ► how deep the bytes came. The first that fits counts."""


class Outcome(NamedTuple):
    """What a connection made of a stream: the messages it heard, the error that ended it, and its state then."""

    heard: list[tuple[Message, bytes]]
    error: str | None
    state: State
    midway: bool

    @property
    def depth(self) -> str:
        """How deep the bytes came: the name of what stopped them."""
        if self.error is None:
            return "8 waits for more" if self.midway else "9 heard to the end"
        return next((depth for said, depth in DEPTHS if said in self.error), "? " + self.error[:60])


def hear(role: Role, state: State, chunks: Iterable[bytes | memoryview]) -> Outcome:
    """Feed a stream to a connection of `role` in `state`, then its end. Anything but the peer's error is raised."""
    connection = Connection(role, 0.0)
    connection.state = state
    connection._hello_heard = state is not State.GREETING
    heard: list[tuple[Message, bytes]] = []
    error = None
    try:
        for chunk in chunks:
            for event in connection.feed(chunk, 0.0):
                heard.append((event.message, bytes(event.payload)))
    except RemoteProtocolError as problem:
        error = str(problem)
    reached, midway = connection.state, False
    if error is not None and reached is not State.CLOSED:
        raise AssertionError(f"still open after: {error}")
    try:
        connection.eof()
    except LinkLostError:
        midway = True
    return Outcome(heard, error, reached, midway)


def check(mutant: Mutant, cuts: Sequence[int], *, bytewise: bool = False) -> Outcome:
    """Hear a mutant whole, in chunks, and byte by byte too if asked; raise `AssertionError` where that differs."""
    role, state, stream = mutant.role, mutant.state, mutant.stream
    whole = hear(role, state, (stream,))
    if hear(role, state, pieces(stream, cuts)) != whole:
        raise AssertionError(f"cut at {cuts}, it is not what the whole is: {whole}")
    if bytewise and hear(role, state, octets(stream)) != whole:
        raise AssertionError(f"byte by byte, it is not what the whole is: {whole}")
    return whole


def pieces(stream: bytes, cuts: Iterable[int]) -> list[bytes]:
    """Cut a stream at these places, in any order."""
    places = [0, *sorted([place % (len(stream) + 1) for place in cuts]), len(stream)]
    return [stream[a:b] for a, b in pairwise(places)]


def octets(stream: bytes) -> list[bytes]:
    """Cut a stream into its bytes."""
    return [stream[i : i + 1] for i in range(len(stream))]
