"""The asyncio shell around a `Connection`: reads into its buffers, writes its bytes, keeps its time."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

from common import limits
from common.errors import LinkError, LinkLostError
from common.wire.confirmed_bytes import ConfirmedUnderTls, acknowledged_bytes, unacknowledged_bytes
from common.wire.connection import Connection, Received, Role, State
from common.wire.incoming import Allocate, aligned_buffer
from common.wire.messages import Message
from common.wire.paced_writer import PacedWriter
from common.wire.socket_pace import pace_socket

TICK_S = 0.25
"""How often the connection is asked what is due."""


class ChannelListener(Protocol):
    """Who hears what happens on a channel. Called on the event loop; must not block."""

    def heard(self, event: Received) -> None:
        """Handle a message. May raise `RemoteProtocolError`: the channel is then closed for that reason."""

    def closed(self, error: LinkError | None) -> None:
        """The channel is closed: by the peer in good order (no error), or because of `error`."""


class _Nobody:
    """Listens to a channel that is closed. The real listener would make a circle, kept until the collector comes.

    So would the transport: under TLS it keeps the channel, and 60 to 80 kB of buffers.
    """

    def heard(self, event: Received) -> None: ...
    def closed(self, error: LinkError | None) -> None: ...


_NOBODY = _Nobody()


class Channel(asyncio.BufferedProtocol):
    """One TCP connection that speaks the protocol, for `loop.create_connection` and `create_server`."""

    def __init__(self, role: Role, listener: ChannelListener, allocate: Allocate = aligned_buffer) -> None:
        self._loop = asyncio.get_running_loop()
        self.connection = Connection(role, time.perf_counter(), allocate)
        self._listener = listener
        self._transport: asyncio.Transport | None = None
        self._was_connected = False
        self._paced: PacedWriter | None = None
        self._under_tls: ConfirmedUnderTls | None = None
        self._closing = False
        self._writable = asyncio.Event()
        self._writable.set()
        self._timer: asyncio.TimerHandle | None = None
        self._confirmed = 0
        self._pace_bps: float | None = None
        self._aborted = False
        self._error: LinkError | None = None
        self.done: asyncio.Future[None] = self._loop.create_future()
        self.bytes_in = 0
        self.bytes_out = 0

    @property
    def is_open(self) -> bool:
        """Whether the handshake is done and nobody has begun to close."""
        greeted = self.connection.state in (State.OPEN, State.DRAINING)
        return greeted and not self._ending

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection, or was one: from `connection_made` on."""
        return self._was_connected

    @property
    def _ending(self) -> bool:
        return self._transport is None or self._closing or self._transport.is_closing()

    @property
    def _over(self) -> bool:
        return self.connection.state is State.CLOSED

    @property
    def is_writable(self) -> bool:
        """Whether the transport's buffer has room."""
        return self._writable.is_set()

    @property
    def peer(self) -> str:
        """Address of the other side, for logs."""
        name = self._transport.get_extra_info("peername") if self._transport else None
        return f"{name[0]}:{name[1]}" if name else "unknown"

    @property
    def peer_host(self) -> str | None:
        """Numeric address of the other side, without the port."""
        name = self._transport.get_extra_info("peername") if self._transport else None
        return str(name[0]) if name else None

    @property
    def peer_certificate(self) -> Mapping[str, Any] | None:
        """The certificate that the other side has proven to be its own, as `ssl` tells it; none without TLS."""
        return self._transport.get_extra_info("peercert") if self._transport else None

    @property
    def unsent_bytes(self) -> int:
        """Bytes that were handed over and have not left this process."""
        if self._transport is None:
            return 0
        waiting = self._paced.waiting_bytes if self._paced is not None else 0
        return waiting + self._transport.get_write_buffer_size()

    # --- what the owner calls ---------------------------------------------------------------------------
    def send(self, message: Message, chunks: Sequence[memoryview | bytes] = ()) -> None:
        """Hand a message to the transport. Raises `LinkLostError` when the channel is closed."""
        if self._transport is None or self._ending:
            raise LinkLostError("the connection is closed")
        buffers = self.connection.send(message, chunks)
        for buffer in buffers:
            self.bytes_out += memoryview(buffer).nbytes
        if self._paced is not None:
            self._paced.send(buffers)
        else:
            self._transport.writelines(buffers)
        if self.connection.state is State.CLOSED:
            self.close()

    async def writable(self) -> None:
        """Wait until the transport's buffer has room. Raises `LinkLostError` when the channel is closed."""
        await self._writable.wait()
        if self._ending:
            raise LinkLostError("the connection is closed")

    def abort(self, error: LinkError | None = None) -> None:
        """Close at once, dropping what is unsent; the listener is told `error`."""
        self._error = self._error or error
        self._aborted = True
        if self._paced is not None:
            self._paced.clear()
        if self._transport is not None:
            self._transport.abort()

    def abandon(self) -> None:
        """Take note that connecting has failed: the listener hears nothing any more.

        Cancelled at its last moment it may have told of a connection, the end of which nobody tells.
        """
        self._listener = _NOBODY
        self.abort()
        self._let_go()

    def close(self) -> None:
        """Close once what is unsent has been sent."""
        self._closing = True
        if self._transport is None or (self._paced is not None and self._paced.waiting_bytes):
            return
        if (
            not self._transport.is_closing()
        ):  # closed twice, asyncio's TLS transport can be asked nothing more
            self._transport.close()

    # --- what asyncio calls -----------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass of it
        self._was_connected = True
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
                milliseconds = int(limits.TCP_USER_TIMEOUT_S * 1e3)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
        if transport.get_extra_info("sslcontext") is not None:
            self._paced = PacedWriter(self._transport.write)
            self._under_tls = ConfirmedUnderTls(acknowledged_bytes(sock))
            self._transport.set_write_buffer_limits(high=1, low=0)  # one piece at a time
        self._timer = self._loop.call_later(TICK_S, self._tick)
        if self._aborted:
            self._transport.abort()

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._over:  # TLS reads on until the peer has agreed to the end
            return memoryview(bytearray(limits.KIB))
        return self.connection.next_buffer()

    def buffer_updated(self, nbytes: int) -> None:
        self.bytes_in += nbytes
        if self._over:
            return
        try:
            for event in self.connection.received(nbytes, time.perf_counter()):
                self._listener.heard(event)
        except LinkError as error:
            self.abort(error)
            return
        if self._over:
            self.close()

    def eof_received(self) -> bool:
        try:
            self.connection.eof()
        except LinkError as error:
            self._error = self._error or error
        return False

    def pause_writing(self) -> None:
        self._writable.clear()
        if self._paced is not None:
            self._paced.pause()

    def resume_writing(self) -> None:
        if self._paced is not None:
            self._paced.resume()
            if self._paced.waiting_bytes:
                return
            if self._closing:
                self.close()
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._writable.set()
        self.connection.state = State.CLOSED
        if self._error is None and exc is not None and not self._closing:
            self._error = LinkLostError(f"the connection broke: {exc}")
        if not self.done.done():
            self.done.set_result(None)
        listener, self._listener = self._listener, _NOBODY
        # An error knows the frames it came through, and they this channel.
        error, self._error = self._error, None
        listener.closed(error)
        self._let_go()

    def _let_go(self) -> None:
        """Refer to nothing any more that refers to this channel."""
        self._transport, self._paced = None, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        now = time.perf_counter()
        confirmed = self.confirmed_bytes
        # Only amid a long message: a ping is confirmed by the kernel of a peer whose program has stopped.
        if self._confirmed < confirmed < self.bytes_out:
            self.connection.progressed(now)
        self._confirmed = confirmed
        try:
            ping = self.connection.on_time(now)
            if ping is not None:
                self.send(ping)
        except LinkError as error:
            self.abort(error)
            return
        self._timer = self._loop.call_later(TICK_S, self._tick)

    def pace(self, bps: float | None) -> None:
        """Have the kernel send at most at this rate, in bit/s, where it can; none: as fast as it would."""
        if self._transport is not None and bps != self._pace_bps:
            self._pace_bps = bps
            pace_socket(self._transport.get_extra_info("socket"), bps)

    @property
    def confirmed_bytes(self) -> int:
        """Bytes that the peer's kernel has confirmed, of all that were handed over, where the system can tell."""
        if self._transport is None:
            return self.bytes_out
        sock = self._transport.get_extra_info("socket")
        held = self.unsent_bytes + unacknowledged_bytes(sock)
        if self._under_tls is not None:
            return self._under_tls.of(self.bytes_out, held, acknowledged_bytes(sock))
        return self.bytes_out - held

    @property
    def outstanding_bytes(self) -> int:
        """Bytes that were handed over but that the peer's kernel has not confirmed, where the system can tell."""
        return self.bytes_out - self.confirmed_bytes
