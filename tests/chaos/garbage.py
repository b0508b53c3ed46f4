"""Connections at a cloud's port that come to nothing: noise, halves of greetings, silence."""

from __future__ import annotations

import contextlib
import random
import socket

from common.wire import framing
from common.wire.messages import PROTOCOL, Hello

DIGEST = "0123456789abcdef" * 4


class GarbageVisitors:
    """Connects, says what is no protocol, and leaves; some stay for a while and say nothing. For one thread."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._holding: list[socket.socket] = []
        self.visits = 0

    def visit(self, port: int) -> None:
        """Make a handful of connections to `port` of this machine."""
        self.leave()
        for _ in range(self._rng.randint(1, 20)):
            with contextlib.suppress(OSError):  # the cloud closes on us, or is not there
                visitor = socket.create_connection(("127.0.0.1", port), 2.0)
                self._holding.append(visitor)
                self.visits += 1
                visitor.sendall(self._words())
        for visitor in self._holding[::2]:
            visitor.close()

    def leave(self) -> None:
        """Close what was left open, as rudely as may be."""
        for visitor in self._holding:
            visitor.close()
        self._holding.clear()

    def _words(self) -> bytes:
        hello = Hello(
            protocol=PROTOCOL,
            edge="nobody",
            model="none",
            architecture=DIGEST,
            weights=DIGEST,
            graph=DIGEST,
        )
        greeting = framing.pack(hello, 0)
        return self._rng.choice(
            (
                b"",
                self._rng.randbytes(self._rng.randint(1, 2_000)),
                greeting[: self._rng.randrange(len(greeting))],
                greeting,  # of a model that nobody holds: refused
                greeting + self._rng.randbytes(100),
                b"GET / HTTP/1.1\r\nHost: cloud\r\n\r\n",
            )
        )
