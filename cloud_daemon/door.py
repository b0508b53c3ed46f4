"""The cloud's listening sockets: accepts connections, and has each prove itself before it is anything.

accept ─► a place? ─► TLS handshake ─► channel ─► Hello      all within 5 s, 16 at a time
             │ no          │ fails
             ▼             ▼
           closed        closed
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable

import structlog

from common import limits
from common.config import Address
from common.errors import ConfigurationError
from common.tls.explain import why_an_edge_failed
from common.wire.transport import Channel

log = structlog.get_logger()

BACKLOG = 128
BURST = 32
"""Connections accepted in one go, before others have their turn."""
OUT_OF_SOCKETS_S = 1.0
"""When the process can have no more files, accepting rests for this long."""

Accept = Callable[[socket.socket, str], None]


class Door:
    """Listens on an address, and hands every socket to `accept` together with the peer's address."""

    def __init__(self, listen: Address, accept: Accept) -> None:
        self._listen = listen
        self._accept = accept
        self._sockets: list[socket.socket] = []
        self._loop = asyncio.get_running_loop()
        self._rest: asyncio.TimerHandle | None = None

    async def open(self) -> Address:
        """Listen; return the address (with the port in use, if port 0 was asked for).

        Raises `ConfigurationError` when the address cannot be listened on.
        """
        try:
            found = await self._loop.getaddrinfo(
                self._listen.host, self._listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            for family, _, _, _, address in dict.fromkeys(found):
                listener = socket.create_server(address[:2], family=family, backlog=BACKLOG)
                listener.setblocking(False)
                self._sockets.append(listener)
        except OSError as error:
            self.close()
            raise ConfigurationError(
                f"cannot listen on {self._listen} ({error.strerror or error}); is another daemon running there? "
                "Set CLEAVE_CLOUD_LISTEN to another host:port"
            ) from error
        self._watch()
        return Address(host=self._listen.host, port=self._sockets[0].getsockname()[1])

    def close(self) -> None:
        """Listen no more."""
        if self._rest is not None:
            self._rest.cancel()
        for listener in self._sockets:
            self._loop.remove_reader(listener)
            listener.close()
        self._sockets.clear()

    def _watch(self) -> None:
        for listener in self._sockets:
            self._loop.add_reader(listener, self._ready, listener)

    def _ready(self, listener: socket.socket) -> None:
        for _ in range(BURST):
            try:
                connection, address = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.error("no connection can be accepted now", reason=error.strerror)
                for one in self._sockets:
                    self._loop.remove_reader(one)
                self._rest = self._loop.call_later(OUT_OF_SOCKETS_S, self._watch)
                return
            connection.setblocking(False)
            self._accept(connection, str(address[0]))


async def shake_hands(
    connection: socket.socket, channel: Channel, context: ssl.SSLContext | None
) -> str | None:
    """Make the socket the channel's, after a TLS handshake if there is a context.

    Returns why that failed; the socket is closed then, and the channel was never opened.
    """
    loop = asyncio.get_running_loop()
    try:
        if context is None:
            await loop.connect_accepted_socket(lambda: channel, connection)
        else:
            await loop.connect_accepted_socket(
                lambda: channel,
                connection,
                ssl=context,
                ssl_handshake_timeout=limits.HANDSHAKE_TIMEOUT_S,
                ssl_shutdown_timeout=limits.TLS_SHUTDOWN_S,
            )
    except OSError as error:  # ssl.SSLError is one, and so are resets and time-outs
        with contextlib.suppress(OSError):
            connection.close()
        return why_an_edge_failed(error)
    return None
