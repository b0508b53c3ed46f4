"""Facts about how fast the kernel sends what a socket is given."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterator

import pytest

from common.wire.socket_pace import SO_MAX_PACING_RATE, UNPACED, pace_socket

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="an option of Linux")


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    with socket.socket() as found:
        yield found


def pace_of(sock: socket.socket) -> int:
    """Return the pace in bytes per second, as the kernel has it."""
    found: int = struct.unpack("I", sock.getsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, 4))[0]
    return found


def test_a_pace_is_set_and_lifted(sock: socket.socket) -> None:
    """The kernel counts in bytes; a socket begins without a pace, and has none again once it is lifted."""
    assert pace_of(sock) == UNPACED
    pace_socket(sock, 12e6)
    assert pace_of(sock) == 1_500_000
    pace_socket(sock, None)
    assert pace_of(sock) == UNPACED


@pytest.mark.parametrize(("bps", "pace"), [(1.0, 1), (1e15, UNPACED)])
def test_a_pace_that_the_option_cannot_hold_is_the_nearest_that_it_can(
    sock: socket.socket, bps: float, pace: int
) -> None:
    """0 would stop the connection, and what overflows would be any rate."""
    pace_socket(sock, bps)
    assert pace_of(sock) == pace


def test_a_closed_socket_is_left_alone() -> None:
    """A connection may end between a decision and the call; and there may be no socket behind a transport."""
    with socket.socket() as gone:
        pass
    pace_socket(gone, 1e6)
    pace_socket(None, 1e6)
