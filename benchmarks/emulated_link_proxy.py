"""The emulated link's sockets: a TCP proxy whose bytes cross two `Wire`s, one for each direction.

Every byte waits in a small kernel buffer until its lane has room, so a sender is held back as by a modem.

    client ═► [16 KiB] ─► up.lane ─ Wire up ─► [64 KiB] ═► target
           ◄═ [64 KiB] ◄─ Wire down ─ down.lane ◄─ [16 KiB] ◄═

Callbacks of one event loop, no tasks: what may happen when is decided in `emulated_link_wire`.
What it cannot emulate: TCP ends at the proxy, so there is no loss, no congestion window that grows with the
delay, and `connect()` succeeds before the target was asked (a refusal arrives as a reset, one round trip later).
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
import time
from collections.abc import Callable

from benchmarks.emulated_link_shape import LinkShape
from benchmarks.emulated_link_wire import Mark, Wire

Address = tuple[str, int]

# What the kernel may hold before the wire (it doubles the figure for its own overhead). With the wire's own
# queue (16 KiB, or 8 ms' worth) this is the buffer of a small modem: 13 ms at 20 Mbit/s. An unlimited or fast
# link is read often enough not to need more.
_RECEIVE_BUFFER_BYTES = 16 * 1024
# What the kernel may hold for a receiver that reads slowly, after the wire.
_SEND_BUFFER_BYTES = 64 * 1024
# Loopback's segments are 64 KiB: larger than the receive buffer, which makes TCP wait for its persist timer
# (0.2 s). Ethernet's size also makes senders behave as they would on a real link.
_SEGMENT_BYTES = 1448
# An unlimited link is read in pieces of this size.
_READ_BYTES = 64 * 1024
# Timers of both event loops are rounded to 1 ms; half a tick early makes the error even.
_TICK_S = 0.001


def prepare_socket(sock: socket.socket) -> None:
    """Make a socket of the link non-blocking, with small buffers; before listen or connect, which fix them."""
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SEGMENT_BYTES)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class Direction:
    """One direction of the link: its wire, the pipes on it, and the timer that serves them."""

    def __init__(self, loop: asyncio.AbstractEventLoop, shape: LinkShape) -> None:
        self.loop = loop
        self.wire = Wire(shape, early_s=_TICK_S / 2)
        self.pipes: list[Pipe] = []
        self.bytes_delivered = 0
        self._timer: asyncio.TimerHandle | None = None
        self._serving = False
        self._asked_again = False

    def reshape(self, shape: LinkShape) -> None:
        """Change the behaviour at once."""
        self.wire.reshape(shape, time.monotonic())
        self.serve()

    def serve(self) -> None:
        """Deliver what has landed, hear senders that there is room for, and set the timer."""
        self._asked_again = True
        if self._serving:  # a delivery led here: the round in progress is followed by another
            return
        self._serving = True
        try:
            delivered = False
            while delivered or self._asked_again:
                self._asked_again = False
                # Each delivery may make room in flight, which lets the bottleneck go on: until nothing moves.
                self.wire.advance(time.monotonic())
                delivered = sum(pipe.deliver() for pipe in tuple(self.pipes)) > 0  # each of them, not any
            for pipe in self.pipes:
                pipe.listen_if_room()
        finally:
            self._serving = False
        self._set_timer()

    def stop(self) -> None:
        """Cancel the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        self.stop()
        wake_s = self.wire.wake_s()
        if wake_s is not None:
            self._timer = self.loop.call_later(max(wake_s - time.monotonic(), _TICK_S), self.serve)


class Pipe:
    """One connection in one direction: from a source socket over a lane into a sink socket."""

    def __init__(self, direction: Direction, relay: Relay) -> None:
        self.source: socket.socket | None = None
        self.sink: socket.socket | None = None
        self.finished = False
        self._direction = direction
        self._relay = relay
        self._lane = direction.wire.add_lane()
        self._reading = False
        self._read_bytes = 0
        self._source_ended = False
        self._closed = False
        direction.pipes.append(self)

    def put(self, mark: Mark) -> None:
        """Send a mark after the bytes that are on their way; after FINISHED or ABORTED nothing more is read."""
        if self._closed:
            return
        if mark is not Mark.OPEN:
            self._source_ended = True
        self._direction.wire.offer(self._lane, mark, time.monotonic())
        self._direction.serve()

    def deliver(self) -> bool:
        """Give the sink what has landed, until it is full; say whether anything moved."""
        moved = False
        while not (self._closed or self._lane.receiver_full):
            landed = self._direction.wire.landed(self._lane, time.monotonic())
            if landed is None:
                break
            moved = True
            if isinstance(landed, Mark):
                self._lane.unload_mark()
                self._act_upon(landed)
            else:
                self._send(landed)
        return moved

    def listen_if_room(self) -> None:
        """Start or stop reading the source, as the lane has room."""
        if self.source is None or self._closed:
            return
        wanted = not self._source_ended and self._direction.wire.room_bytes(self._lane) > 0
        if wanted and not self._reading:
            self._direction.loop.add_reader(self.source, self._read)
        elif self._reading and not wanted:
            self._direction.loop.remove_reader(self.source)
        self._reading = wanted

    def hold(self) -> None:
        """Deliver nothing until `resume`, which the sink calls when it is writable."""
        assert self.sink is not None
        self._lane.receiver_full = True
        self._direction.loop.add_writer(self.sink, self.resume)

    def resume(self) -> None:
        """Go on delivering."""
        if self.sink is not None:
            self._direction.loop.remove_writer(self.sink)
        self._lane.receiver_full = False
        self._direction.serve()

    def close(self) -> None:
        """Leave the wire with all that is on it; the sockets stay open."""
        if self._closed:
            return
        self._closed = True
        if self.source is not None and self._reading:
            self._direction.loop.remove_reader(self.source)
        if self.sink is not None:
            self._direction.loop.remove_writer(self.sink)
        self._direction.pipes.remove(self)
        self._direction.wire.remove_lane(self._lane)

    def _read(self) -> None:
        assert self.source is not None
        room_bytes = self._direction.wire.room_bytes(self._lane)
        try:
            chunk = self.source.recv(min(room_bytes, _READ_BYTES)) if room_bytes else None
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.put(Mark.ABORTED)
            return
        if chunk == b"":
            self.put(Mark.FINISHED)
            return
        if chunk:
            limit_bytes = self._direction.wire.shape.limit_bytes
            # Counted only while there is a limit: one that is set later is not passed already.
            left_bytes = None if limit_bytes is None else max(limit_bytes - self._read_bytes, 0)
            self._read_bytes = 0 if limit_bytes is None else self._read_bytes + len(chunk)
            passing = chunk[:left_bytes]
            if passing:
                self._direction.wire.offer(self._lane, passing, time.monotonic())
            if left_bytes is not None and len(chunk) > left_bytes:
                self.put(Mark.ABORTED)
                return
        self._direction.serve()

    def _send(self, chunks: list[memoryview]) -> None:
        assert self.sink is not None
        try:
            sent_bytes = self.sink.sendmsg(chunks)
        except (BlockingIOError, InterruptedError):
            self.hold()
            return
        except OSError:
            self._relay.sink_failed(self)
            return
        self._direction.bytes_delivered += sent_bytes
        self._lane.unload_bytes(sent_bytes)

    def _act_upon(self, mark: Mark) -> None:
        if mark is Mark.OPEN:
            self._relay.open_target()
        elif mark is Mark.ABORTED:
            self._relay.abort()
        else:
            assert self.sink is not None
            try:
                self.sink.shutdown(socket.SHUT_WR)
            except OSError:
                self._relay.sink_failed(self)
                return
            self.finished = True
            self._relay.close_if_finished()


class Relay:
    """One accepted connection: the client's socket, the target's, and the two pipes between them."""

    def __init__(
        self,
        client: socket.socket,
        target: Address,
        up: Direction,
        down: Direction,
        on_close: Callable[[Relay], None],
    ) -> None:
        self._loop = up.loop
        self._target = target
        self._client_socket = client
        self._target_socket: socket.socket | None = None
        self._on_close = on_close
        self._closed = False
        self._up = Pipe(up, self)
        self._down = Pipe(down, self)
        self._up.source = self._down.sink = client

    def start(self) -> None:
        """Send the wish to connect over the link, where it waits and travels as bytes do."""
        self._up.put(Mark.OPEN)

    def open_target(self) -> None:
        """Connect to the target; the bytes behind the wish wait."""
        family = socket.AF_INET6 if ":" in self._target[0] else socket.AF_INET
        self._target_socket = socket.socket(family, socket.SOCK_STREAM)
        prepare_socket(self._target_socket)
        self._up.sink = self._target_socket
        error = self._target_socket.connect_ex(self._target)
        if error not in (0, errno.EINPROGRESS):
            self.sink_failed(self._up)
            return
        self._up.hold()
        self._loop.add_writer(self._target_socket, self._connected)  # instead of what `hold` waits for

    def sink_failed(self, pipe: Pipe) -> None:
        """Take nothing more one way, and let the news travel the other way."""
        opposite = self._down if pipe is self._up else self._up
        pipe.close()
        opposite.put(Mark.ABORTED)

    def close_if_finished(self) -> None:
        """Close both sockets when each side has been told that the other has finished."""
        if self._up.finished and self._down.finished:
            self._close()

    def abort(self) -> None:
        """Break the connection on both sides at once (RST)."""
        self.forsake(client_told=True, target_told=True)

    def forsake(self, *, client_told: bool, target_told: bool) -> list[socket.socket]:
        """Carry nothing any more; break the sides that are to be told (RST), return the sockets of the others."""
        if self._closed:
            return []
        self._leave_the_link()
        forsaken = []
        for sock, told in ((self._client_socket, client_told), (self._target_socket, target_told)):
            if sock is None:
                continue
            if told:
                # Lingering for no time is the portable way to ask for a reset.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()
            else:
                forsaken.append(sock)
        return forsaken

    def _connected(self) -> None:
        assert self._target_socket is not None
        if self._target_socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.sink_failed(self._up)
            return
        self._down.source = self._target_socket
        self._down.listen_if_room()
        self._up.resume()

    def _close(self) -> None:
        if self._closed:
            return
        self._leave_the_link()
        self._client_socket.close()
        if self._target_socket is not None:
            self._target_socket.close()

    def _leave_the_link(self) -> None:
        self._closed = True
        self._up.close()
        self._down.close()
        self._on_close(self)
