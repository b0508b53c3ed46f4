"""Receive buffers in pinned memory, which a GPU copies from by itself: a bounded pool, plain memory beyond it.

    one block, pinned at the start:  │ frame │ frame │▒▒ free ▒▒│ frame │▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒│
                                     first piece that is free and long enough; neighbours merge when given back

A buffer is given back when nobody refers to it any more: neither a view, nor a tensor that lies in it. Whoever runs
a segment holds its inputs until it returns, which it does when its stream has ended the copies: none is given back
while it is read.
"""

from __future__ import annotations

import weakref
from collections import deque

import torch

from common.limits import KIB, MIB, TENSOR_ALIGNMENT
from common.wire.incoming import aligned_buffer

POOL_BYTES = 128 * MIB
"""40 frames that cross with 3 MB each, or all that a cloud holds at 2 MB. Pinned memory is lost to the rest of the
machine, so it is bounded; frames beyond are received into plain memory, and copied more slowly."""
LEAST_BYTES = 4 * KIB
"""Shorter payloads are not worth a place: their copy takes no time."""


class Arena:
    """Pieces of a block of memory: which are free. First fit; offsets and lengths are multiples of the alignment."""

    def __init__(self, nbytes: int) -> None:
        self._free: dict[int, int] = {0: nbytes} if nbytes else {}
        self._taken: dict[int, int] = {}

    @property
    def free_bytes(self) -> int:
        return sum(self._free.values())

    @property
    def largest_bytes(self) -> int:
        """The longest piece that is free."""
        return max(self._free.values(), default=0)

    def take(self, nbytes: int) -> int | None:
        """Return the offset of a piece of `nbytes` (at least 1); none where no free piece is long enough."""
        wanted = nbytes + -nbytes % TENSOR_ALIGNMENT
        for offset, length in sorted(self._free.items()):
            if length >= wanted:
                del self._free[offset]
                if length > wanted:
                    self._free[offset + wanted] = length - wanted
                self._taken[offset] = wanted
                return offset
        return None

    def give_back(self, offset: int) -> None:
        """Free the piece that was taken at `offset`. Raises `KeyError` where none was."""
        length = self._taken.pop(offset)
        if offset + length in self._free:
            length += self._free.pop(offset + length)
        before = next((start for start, free in self._free.items() if start + free == offset), None)
        if before is None:
            self._free[offset] = length
        else:
            self._free[before] += length


class PinnedPool:
    """Buffers within `block`, uint8[n] of host memory. `allocate` is for one thread; buffers may die on any."""

    def __init__(self, block: torch.Tensor) -> None:
        self._bytes = block.numpy()
        # The device and numpy both align far better than this; a test's memory may not.
        self._start = -self._bytes.ctypes.data % TENSOR_ALIGNMENT
        usable = len(self._bytes) - self._start
        self.arena = Arena(usable - usable % TENSOR_ALIGNMENT)
        # What dies may do so amid `allocate`, even on its thread: it only leaves a note here, and no lock is held.
        self._died: deque[int] = deque()

    def allocate(self, nbytes: int) -> memoryview:
        """See `Allocate`. Plain memory where it is short, or the pool has no place."""
        self.collect()
        offset = self.arena.take(nbytes) if nbytes >= LEAST_BYTES else None
        if offset is None:
            return aligned_buffer(nbytes)
        start = self._start + offset
        buffer = self._bytes[
            start : start + nbytes
        ]  # its views, and tensors made of them, keep this very object
        weakref.finalize(buffer, self._died.append, offset).atexit = False
        return buffer.data

    def collect(self) -> None:
        """Take back the buffers that nobody refers to any more."""
        while self._died:
            self.arena.give_back(self._died.popleft())
