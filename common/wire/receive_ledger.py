"""How much memory all connections together may receive into: a ledger of buffers that are still held.

A peer says how long a payload will be before it sends any of it. Hundreds of peers that each may have several frames
on their way would add up to more memory than any machine has; beyond the limit a payload is received into nothing,
and its frame is refused. And a peer that announces much and sends nothing holds half of it at most, on however many
connections: the others have the rest.
"""

from __future__ import annotations

import weakref
from collections import Counter, deque

from common import limits
from common.wire.incoming import Allocate, aligned_buffer

NOBODY = ""
"""Whose connections those are that have not said a name: together they are one peer."""


class ReceiveLedger:
    """Allocates by `allocate`, at most `limit_bytes` at a time. For one thread; buffers may die on any."""

    def __init__(self, limit_bytes: int, allocate: Allocate = aligned_buffer) -> None:
        self.limit_bytes = limit_bytes
        self.refused = 0
        """Payloads for which there was no memory."""
        self._allocate = allocate
        self._held: Counter[str] = Counter()
        # What dies may do so amid `allocate`, even on its thread: it only leaves a note here, and no lock is held.
        self._died: deque[tuple[str, int]] = deque()

    @property
    def held_bytes(self) -> int:
        """Bytes of buffers that somebody still refers to."""
        self._take_notes()
        return self._held.total()

    @property
    def share_bytes(self) -> int:
        """What one peer may hold: half of all, and the largest payload in any case."""
        return max(self.limit_bytes // 2, min(self.limit_bytes, limits.MAX_PAYLOAD_BYTES))

    def account(self) -> Account:
        """Return what a new connection allocates by."""
        return Account(self)

    def allocate(self, nbytes: int, owner: str) -> memoryview | None:
        """See `Allocate`; what is given counts as `owner`'s until nobody refers to it."""
        held = self.held_bytes
        if nbytes and (held + nbytes > self.limit_bytes or self._held[owner] + nbytes > self.share_bytes):
            self.refused += 1
            return None
        buffer = self._allocate(nbytes)
        if buffer is not None and nbytes:
            # A view, and a tensor made of one, keeps the object that it is a view of.
            weakref.finalize(buffer.obj, self._died.append, (owner, nbytes)).atexit = False
            self._held[owner] += nbytes
        return buffer

    def _take_notes(self) -> None:
        while self._died:
            owner, nbytes = self._died.popleft()
            self._held[owner] -= nbytes
            if not self._held[owner]:
                del self._held[owner]


class Account:
    """What one connection allocates by, for its peer: `owner`, once that has said its name.

    It does not know the connection: what a connection knows and that knows it waits for the collector.
    """

    __slots__ = ("_ledger", "owner")

    def __init__(self, ledger: ReceiveLedger) -> None:
        self._ledger = ledger
        self.owner = NOBODY

    def allocate(self, nbytes: int) -> memoryview | None:
        """See `Allocate`."""
        return self._ledger.allocate(nbytes, self.owner)
