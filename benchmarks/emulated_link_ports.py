"""The emulated link as a whole: its ports, its shape, and all connections that cross it."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from benchmarks.emulated_link_dark import DarkSockets
from benchmarks.emulated_link_proxy import Address, Direction, Relay, prepare_socket
from benchmarks.emulated_link_shape import LinkShape

_BACKLOG = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """Where the link listens and whom it connects to: numeric addresses; port 0 listens on any free one."""

    listen: Address
    target: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkCounters:
    """What the link has done since it was started: bytes delivered and bytes on the link, and connections."""

    up_bytes: int
    down_bytes: int
    up_held_bytes: int
    down_held_bytes: int
    connections_accepted: int
    connections_open: int


class EmulatedLink:
    """A link between two machines that are one: every forward shares its rate, its delay, its outages.

    Up is from client to target. Use it as an async context manager, or `start` and `stop` it.
    """

    def __init__(self, forwards: Sequence[Forward], shape: LinkShape | None = None) -> None:
        """Describe the link; nothing listens before `start`. Raises ValueError without any forward."""
        if not forwards:
            raise ValueError("an emulated link needs at least one forward")
        self._forwards = tuple(forwards)
        self._shape = LinkShape() if shape is None else shape
        self._shape_before_cut = self._shape
        self._listeners: list[socket.socket] = []
        self._addresses: tuple[Address, ...] = ()
        self._fillers: list[socket.socket] = []
        self._dark = DarkSockets()
        self._directions: tuple[Direction, Direction] | None = None
        self._relays: set[Relay] = set()
        self._accepted = 0

    async def start(self) -> None:
        """Listen on every forward. Raises OSError where an address cannot be bound, and listens nowhere."""
        loop = asyncio.get_running_loop()
        self._directions = (Direction(loop, self._shape), Direction(loop, self._shape))
        try:
            self._listen([forward.listen for forward in self._forwards])
        except OSError:
            await self.stop()
            raise
        self._addresses = tuple(listener.getsockname()[:2] for listener in self._listeners)

    async def stop(self) -> None:
        """Stop listening and break what is connected. Does nothing the second time."""
        self.refuse()
        self.reset()
        self._dark.close()
        for direction in self._directions or ():
            direction.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where each forward really listens, in their order."""
        return self._addresses

    @property
    def shape(self) -> LinkShape:
        """How the link behaves; assign to change it at once, also for what is on it."""
        return self._shape

    @shape.setter
    def shape(self, shape: LinkShape) -> None:
        self._shape = shape
        if not shape.is_cut:
            self._shape_before_cut = shape
        for direction in self._directions or ():
            direction.reshape(shape)

    def set_rate(self, rate_bps: float | None) -> None:
        """Change only the rate: bits per second, None for unlimited, 0 to cut the link off."""
        self.shape = dataclasses.replace(self._shape, rate_bps=rate_bps)

    def cut(self, *, up: bool = True, down: bool = True) -> None:
        """Let nothing pass, as in a radio outage: connections stay, their bytes wait, nobody is told.

        Both ways, or only one; `restore` ends either.
        """
        if up and down:
            self.set_rate(0)
            return
        for direction, chosen in zip(self._directions or (), (up, down), strict=False):
            direction.reshape(dataclasses.replace(self._shape, rate_bps=0) if chosen else self._shape)

    def restore(self) -> None:
        """End an outage: the rate is what it was before, and what waited goes on."""
        self.set_rate(self._shape_before_cut.rate_bps)

    def reset(self) -> None:
        """Break every connection at once, on both sides (RST); new ones are welcome."""
        for relay in tuple(self._relays):
            relay.abort()

    def forsake(self, *, client_told: bool = False, target_told: bool = False) -> None:
        """Let every connection vanish: it carries nothing any more, and only who is to be told hears of it (RST)."""
        for relay in tuple(self._relays):
            for sock in relay.forsake(client_told=client_told, target_told=target_told):
                self._dark.add(sock)

    def refuse(self) -> None:
        """Have new connections refused, as by a machine on which nobody listens, until `welcome`."""
        self._drop_fillers()
        for listener in self._listeners:
            if listener.fileno() >= 0:
                asyncio.get_running_loop().remove_reader(listener)
                listener.close()
        self._listeners.clear()

    def ignore(self) -> None:
        """Have new connections hang until `welcome`: their SYNs are dropped, as the queue for them is full."""
        for listener in self._listeners:
            asyncio.get_running_loop().remove_reader(listener)
            listener.listen(0)
            filler = socket.socket(listener.family, socket.SOCK_STREAM)
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            self._fillers.append(filler)

    def welcome(self) -> None:
        """Take new connections again."""
        self._drop_fillers()
        if not self._listeners:
            self._listen(self._addresses)
        for listener, forward in zip(self._listeners, self._forwards, strict=True):
            listener.listen(_BACKLOG)
            asyncio.get_running_loop().add_reader(listener, self._accept, listener, forward.target)

    def counters(self) -> LinkCounters:
        """Count what has crossed the link."""
        up, down = self._directions or (None, None)
        return LinkCounters(
            up_bytes=up.bytes_delivered if up else 0,
            down_bytes=down.bytes_delivered if down else 0,
            up_held_bytes=up.wire.held_bytes() if up else 0,
            down_held_bytes=down.wire.held_bytes() if down else 0,
            connections_accepted=self._accepted,
            connections_open=len(self._relays),
        )

    def _listen(self, addresses: Sequence[Address]) -> None:
        loop = asyncio.get_running_loop()
        for address, forward in zip(addresses, self._forwards, strict=True):
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
            listener = socket.socket(family, socket.SOCK_STREAM)
            self._listeners.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            prepare_socket(listener)  # what it accepts inherits the small buffers
            listener.bind(address)
            listener.listen(_BACKLOG)
            loop.add_reader(listener, self._accept, listener, forward.target)

    def _drop_fillers(self) -> None:
        for filler in self._fillers:
            filler.close()
        self._fillers.clear()

    def _accept(self, listener: socket.socket, target: Address) -> None:
        assert self._directions is not None
        try:
            client, _ = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        client.setblocking(False)
        self._accepted += 1
        relay = Relay(client, target, *self._directions, on_close=self._relays.discard)
        self._relays.add(relay)
        relay.start()
