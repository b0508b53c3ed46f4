"""How much of what was sent on a connection its peer has: what the kernel knows, and what lies before it.

handed over ──► waits here ──► TLS layer, transport ──► kernel ──► the peer's kernel
                is counted     under TLS nobody tells   TIOCOUTQ   TCP_INFO
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import socket
import struct
import termios

BYTES_ACKED_OFFSET = 120
"""Of `tcpi_bytes_acked` in Linux' `struct tcp_info` (linux/tcp.h), 64 bits, since 4.1."""
RECORD_SHARE = 16384 / (16384 + 22)
"""Of the bytes of the largest TLS 1.3 record, those that were to be sent (RFC 8446, 5.2: header, type and tag)."""


def unacknowledged_bytes(sock: socket.socket | None) -> int:
    """Return how many bytes this kernel has that the peer's has not confirmed; 0 where the system cannot tell."""
    if sock is None or sock.fileno() < 0:  # closed a moment ago, and whoever asks does not know yet
        return 0
    with contextlib.suppress(OSError):
        return int(struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))[0])
    return 0


def acknowledged_bytes(sock: socket.socket | None) -> int | None:
    """Return how many bytes the peer's kernel has confirmed since the connection began, where the system can tell."""
    if sock is None or sock.fileno() < 0 or not hasattr(socket, "TCP_INFO"):
        return None
    with contextlib.suppress(OSError):
        told = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, BYTES_ACKED_OFFSET + 8)
        if len(told) == BYTES_ACKED_OFFSET + 8:
            return int(struct.unpack_from("Q", told, BYTES_ACKED_OFFSET)[0])
    return None


class ConfirmedUnderTls:
    """Tells how much of what a TLS layer was given has arrived, from what arrived of what it made of that.

    Layer and transport may hold 128 KiB which neither counts. So arrived bytes are counted from the last moment at
    which all had arrived: as so many of the layer's, in records of the largest size. Smaller records carry less; the
    count is a little too high then, and never above what this process and its kernel do not hold.
    """

    def __init__(self, acknowledged: int | None) -> None:
        """Begin when nothing was handed over; `acknowledged`, here and later: by the peer's kernel."""
        self._acknowledged = acknowledged or 0
        self._all = 0

    def of(self, handed: int, held: int, acknowledged: int | None) -> int:
        """Return how many of `handed` bytes have arrived, `held` of which are known not to have left this machine, or
        not to have arrived."""
        beyond = max(handed - held, 0)
        if acknowledged is None:
            return beyond
        arrived = self._all + math.ceil((acknowledged - self._acknowledged) * RECORD_SHARE)
        if not held and arrived >= handed:
            self._all, self._acknowledged = handed, acknowledged
        return min(arrived, beyond)
