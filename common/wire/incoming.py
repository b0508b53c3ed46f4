"""The payload of one message as it comes in: into memory that is its own, or, where there is none for it, nowhere."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from common import limits

Allocate = Callable[[int], memoryview | None]
"""Gives writable memory of exactly so many bytes, uninitialised, at a multiple of the tensor alignment; whoever holds
a view of it keeps it. None where there is no memory for it now."""

_NOWHERE = memoryview(bytearray(64 * limits.KIB))
"""What nobody wants is written here, by all connections of the process."""
_NOTHING = memoryview(b"")


def aligned_buffer(nbytes: int) -> memoryview:
    """Allocate plain memory: see `Allocate`."""
    if nbytes == 0:
        return memoryview(bytearray())
    block = np.empty(nbytes + limits.TENSOR_ALIGNMENT, dtype=np.uint8)
    offset = -block.__array_interface__["data"][0] % limits.TENSOR_ALIGNMENT
    return block[offset : offset + nbytes].data


class IncomingPayload:
    """`nbytes` that are expected from the peer since `since`; those that come are put into `next_buffer()`."""

    __slots__ = ("_filled", "_memory", "nbytes", "since", "spaced_bytes")

    def __init__(self, nbytes: int, allocate: Allocate, since: float, first: memoryview) -> None:
        """Expect a payload of which the bytes in `first` have come with the header."""
        self.nbytes = nbytes
        self.since = since
        self.spaced_bytes = 0
        self._filled = first.nbytes
        self._memory = allocate(nbytes)
        if self._memory is not None:
            self._memory[: first.nbytes] = first

    @property
    def complete(self) -> bool:
        return self._filled >= self.nbytes

    @property
    def dropped(self) -> bool:
        """Whether there was no memory for it, or it was given up."""
        return self._memory is None

    @property
    def view(self) -> memoryview:
        """The payload; empty where it was dropped."""
        return self._memory if self._memory is not None else _NOTHING

    def next_buffer(self) -> memoryview:
        """Return where the next bytes shall be put: at least one byte long while it is not complete."""
        if self._memory is not None:
            return self._memory[self._filled :]
        return _NOWHERE[: self.nbytes - self._filled]

    def took(self, nbytes: int) -> None:
        """Take note that so many bytes were put into `next_buffer()`."""
        self._filled += nbytes
        self.spaced_bytes += nbytes

    def give_up(self) -> None:
        """Free the memory; what still comes goes nowhere."""
        self._memory = None
