"""The asyncio shell around a `Connection`: reads into its buffers, writes its bytes, keeps its time."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios
import time
from collections.abc import Sequence
from typing import Protocol, cast

from common.errors import LinkError, LinkLostError
from common.wire.connection import Allocate, Connection, Received, Role, State, aligned_buffer
from common.wire.messages import Message

TICK_S = 0.25
"""How often the connection is asked what is due."""


class ChannelListener(Protocol):
    """Who hears what happens on a channel. Called on the event loop; must not block."""

    def heard(self, event: Received) -> None:
        """Handle a message. May raise `RemoteProtocolError`: the channel is then closed for that reason."""

    def closed(self, error: LinkError | None) -> None:
        """The channel is closed: by the peer in good order (no error), or because of `error`."""


class Channel(asyncio.BufferedProtocol):
    """One TCP connection that speaks the protocol, for `loop.create_connection` and `create_server`."""

    def __init__(self, role: Role, listener: ChannelListener, allocate: Allocate = aligned_buffer) -> None:
        self._loop = asyncio.get_running_loop()
        self.connection = Connection(role, time.perf_counter(), allocate)
        self._listener = listener
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._timer: asyncio.TimerHandle | None = None
        self._acknowledged = 0
        self._aborted = False
        self._error: LinkError | None = None
        self.done: asyncio.Future[None] = self._loop.create_future()
        self.bytes_in = 0
        self.bytes_out = 0

    @property
    def is_open(self) -> bool:
        """Whether the handshake is done and nobody has begun to close."""
        greeted = self.connection.state in (State.OPEN, State.DRAINING)
        return greeted and self._transport is not None and not self._transport.is_closing()

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
    def unsent_bytes(self) -> int:
        """Bytes that were handed over and have not left this process."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    # --- what the owner calls ---------------------------------------------------------------------------
    def send(self, message: Message, chunks: Sequence[memoryview | bytes] = ()) -> None:
        """Hand a message to the transport. Raises `LinkLostError` when the channel is closed."""
        if self._transport is None or self._transport.is_closing():
            raise LinkLostError("the connection is closed")
        buffers = self.connection.send(message, chunks)
        self.bytes_out += sum(memoryview(buffer).nbytes for buffer in buffers)
        self._transport.writelines(buffers)
        if self.connection.state is State.CLOSED:
            self._transport.close()

    async def writable(self) -> None:
        """Wait until the transport's buffer has room. Raises `LinkLostError` when the channel is closed."""
        await self._writable.wait()
        if self._transport is None or self._transport.is_closing():
            raise LinkLostError("the connection is closed")

    def abort(self, error: LinkError | None = None) -> None:
        """Close at once, dropping what is unsent; the listener is told `error`."""
        self._error = self._error or error
        self._aborted = True
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Close once what is unsent has been sent."""
        if self._transport is not None:
            self._transport.close()

    # --- what asyncio calls -----------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass of it
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._timer = self._loop.call_later(TICK_S, self._tick)
        if self._aborted:
            self._transport.abort()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.connection.next_buffer()

    def buffer_updated(self, nbytes: int) -> None:
        self.bytes_in += nbytes
        try:
            for event in self.connection.received(nbytes, time.perf_counter()):
                self._listener.heard(event)
        except LinkError as error:
            self.abort(error)
            return
        if self.connection.state is State.CLOSED:
            self.close()

    def eof_received(self) -> bool:
        try:
            self.connection.eof()
        except LinkError as error:
            self._error = self._error or error
        return False

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._writable.set()
        self.connection.state = State.CLOSED
        if self._error is None and exc is not None:
            self._error = LinkLostError(f"the connection broke: {exc}")
        if not self.done.done():
            self.done.set_result(None)
        self._listener.closed(self._error)

    def _tick(self) -> None:
        now = time.perf_counter()
        outstanding = self._unacknowledged()
        acknowledged = self.bytes_out - outstanding
        # Only amid a long message: a ping is confirmed by the kernel of a peer whose program has stopped.
        if outstanding and acknowledged > self._acknowledged:
            self.connection.progressed(now)
        self._acknowledged = acknowledged
        try:
            ping = self.connection.on_time(now)
            if ping is not None:
                self.send(ping)
        except LinkError as error:
            self.abort(error)
            return
        self._timer = self._loop.call_later(TICK_S, self._tick)

    def _unacknowledged(self) -> int:
        """Bytes that were handed over but that the peer's kernel has not confirmed, where the system can tell."""
        assert self._transport is not None
        in_kernel = 0
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            with contextlib.suppress(OSError):
                in_kernel = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))[0]
        return self._transport.get_write_buffer_size() + in_kernel
