"""How fast the kernel sends what a socket is given.

a frame ──► kernel ─ ─ ─ ─ ─► queue before the slowest link ──► link
            at a pace         holds some tens of ms: a frame at once would not fit
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys

SO_MAX_PACING_RATE = 47
"""Linux' number of the option (asm-generic/socket.h), in bytes per second; Python's module has no name for it."""
UNPACED = 0xFFFFFFFF
"""Means no limit (net/core/sock.c)."""


def pace_socket(sock: socket.socket | None, bps: float | None) -> None:
    """Limit a TCP socket's rate to `bps` bit/s, or lift the limit; nothing where the system cannot, or it is gone."""
    if sock is None or sock.fileno() < 0 or sys.platform != "linux":
        return
    rate = UNPACED if bps is None else min(max(int(bps / 8), 1), UNPACED)
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, struct.pack("I", rate))
