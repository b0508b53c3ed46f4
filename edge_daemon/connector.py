"""Opens lines to the cloud: a connection, TLS where there are certificates, and the cloud's greeting."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

from common import limits
from common.config import Address
from common.errors import ConfigurationError, LinkLostError
from common.tls.explain import why_there_was_no_greeting
from common.tls.identity import Identity
from common.wire.messages import Hello
from edge_daemon.line import Line, LineOwner


class Connector:
    """Connects to one cloud, with the same words each time; the lines are `owner`'s."""

    def __init__(self, owner: LineOwner, address: Address, hello: Hello, identity: Identity | None) -> None:
        self._owner = owner
        self._address = address
        self._hello = hello
        self._identity = identity

    async def line(self) -> Line:
        """Connect and be greeted.

        Raises `OSError`, `TimeoutError` and `LinkLostError` where that fails; where the cloud is not the one that was
        meant, `ModelMismatchError` and `ConfigurationError`, if there was no connection yet.
        """
        line = Line(self._owner)
        try:
            async with asyncio.timeout(limits.CONNECT_TIMEOUT_S):
                await self._open(line)
        except BaseException:
            line.channel.abandon()
            raise
        try:
            line.channel.send(self._hello)
            await self._greeted(line)
        except BaseException:
            line.channel.abort()
            raise
        line.greeted_at = time.perf_counter()
        return line

    async def _open(self, line: Line) -> None:
        """Connect to the first of the cloud's addresses that answers, each within its part of the time.

        Raises `OSError` when none does. Names are resolved here: uvloop's `create_connection`, cancelled while it
        resolves one, leaves an error behind that nobody takes, and that is logged as a bug.
        """
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self._address.host, self._address.port, type=socket.SOCK_STREAM)
        for position, (*_, address) in enumerate(found, start=1):
            try:
                async with asyncio.timeout(limits.CONNECT_TIMEOUT_S / len(found)):
                    await loop.create_connection(
                        lambda: line.channel, str(address[0]), int(address[1]), **self._tls_options()
                    )
            except OSError:  # also `TimeoutError`: a host may have an address that nobody answers at
                if position == len(found) or line.channel.is_connected:
                    raise
            else:
                return

    def _tls_options(self) -> dict[str, Any]:
        if self._identity is None:
            return {}
        return {
            "ssl": self._identity.context,
            "server_hostname": self._address.host,
            "ssl_handshake_timeout": limits.HANDSHAKE_TIMEOUT_S,
            "ssl_shutdown_timeout": limits.TLS_SHUTDOWN_S,
        }

    async def _greeted(self, line: Line) -> None:
        """Wait for the cloud's greeting. A mismatch is the operator's to mend, but not by ending a running edge."""
        try:
            await line.greeted
        except LinkLostError as error:
            if line.refused:
                raise
            own = self._identity.facts if self._identity is not None else None
            raise LinkLostError(why_there_was_no_greeting(str(error), own, time.time())) from error
        except ConfigurationError as error:
            if self._owner.counts.connections == 0:
                raise
            raise LinkLostError(str(error)) from error
