"""Facts about how a TLS transport is fed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from common.wire.paced_writer import PIECE_BYTES, PacedWriter


class Transport:
    """Takes so many pieces, then pauses its writer until it is emptied."""

    def __init__(self, room: int) -> None:
        self.pieces: list[bytes] = []
        self.writer = PacedWriter(self.write)
        self._room = room
        self._held = 0

    def write(self, piece: memoryview) -> None:
        assert 0 < piece.nbytes <= PIECE_BYTES
        self.pieces.append(bytes(piece))
        self._held += 1
        if self._held >= self._room:
            self.writer.pause()

    def empty(self) -> None:
        self._held = 0
        self.writer.resume()


@given(
    st.lists(st.integers(0, 4 * PIECE_BYTES), max_size=5),
    st.integers(1, 3),
)
def test_everything_is_written_once_and_in_order(sizes: list[int], room: int) -> None:
    """Whatever is sent, in whatever pieces it is taken; and what waits is counted to the byte."""
    buffers = [bytes([number % 251]) * size for number, size in enumerate(sizes)]
    transport = Transport(room)
    transport.writer.send(buffers)
    while transport.writer.waiting_bytes:
        assert len(b"".join(transport.pieces)) + transport.writer.waiting_bytes == sum(sizes)
        transport.empty()
    assert b"".join(transport.pieces) == b"".join(buffers)


def test_what_was_dropped_is_not_written() -> None:
    """A connection that is aborted sends nothing more."""
    transport = Transport(1)
    transport.writer.send([bytes(3 * PIECE_BYTES)])
    transport.writer.clear()
    transport.empty()
    assert len(transport.pieces) == 1
    assert transport.writer.waiting_bytes == 0
