"""What is left of a connection whose other end has vanished without a word (half-open).

A network that loses a connection (an address translator that forgets it, a machine without power) tells nobody. Here
the bytes of the side that is left are read and forgotten, and its end is noticed only to close the socket.
"""

from __future__ import annotations

import asyncio
import socket

_READ_BYTES = 64 * 1024


class DarkSockets:
    """Sockets that nobody is behind any more; each is closed when its peer has given it up."""

    def __init__(self) -> None:
        self._sockets: set[socket.socket] = set()

    def __len__(self) -> int:
        return len(self._sockets)

    def add(self, sock: socket.socket) -> None:
        """Take a socket over."""
        self._sockets.add(sock)
        asyncio.get_running_loop().add_reader(sock, self._forget, sock)

    def close(self) -> None:
        """Close them all."""
        for sock in tuple(self._sockets):
            self._close(sock)

    def _forget(self, sock: socket.socket) -> None:
        try:
            read = sock.recv(_READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            read = b""
        if not read:
            self._close(sock)

    def _close(self, sock: socket.socket) -> None:
        asyncio.get_running_loop().remove_reader(sock)
        sock.close()
        self._sockets.discard(sock)
