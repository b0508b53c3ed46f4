"""How much memory all connections together may receive into: a ledger of buffers that are still held.

A peer says how long a payload will be before it sends any of it. Hundreds of peers that each may have several frames
on their way would add up to more memory than any machine has; beyond the limit a payload is received into nothing,
and its frame is refused.
"""

from __future__ import annotations

import weakref
from collections import deque

from common.wire.incoming import Allocate, aligned_buffer


class ReceiveLedger:
    """Allocates by `allocate`, at most `limit_bytes` at a time. For one thread; buffers may die on any."""

    def __init__(self, limit_bytes: int, allocate: Allocate = aligned_buffer) -> None:
        self.limit_bytes = limit_bytes
        self.refused = 0
        """Payloads for which there was no memory."""
        self._allocate = allocate
        self._held = 0
        # What dies may do so amid `allocate`, even on its thread: it only leaves a note here, and no lock is held.
        self._died: deque[int] = deque()

    @property
    def held_bytes(self) -> int:
        """Bytes of buffers that somebody still refers to."""
        while self._died:
            self._held -= self._died.popleft()
        return self._held

    def allocate(self, nbytes: int) -> memoryview | None:
        """See `Allocate`."""
        if nbytes and self.held_bytes + nbytes > self.limit_bytes:
            self.refused += 1
            return None
        buffer = self._allocate(nbytes)
        if buffer is not None and nbytes:
            # A view, and a tensor made of one, keeps the object that it is a view of.
            weakref.finalize(buffer.obj, self._died.append, nbytes).atexit = False
            self._held += nbytes
        return buffer
