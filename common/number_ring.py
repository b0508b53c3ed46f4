"""The latest rows of numbers, in memory that is there from the beginning.

A deque of tuples would grow for a quarter of an hour, a row a second, in hundreds of small pieces: 1 MiB/h of what
looks like a leak, scattered among what comes and goes.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator


class NumberRing:
    """Remembers the `most` latest rows of `columns` numbers each, as floats of 64 bits; a Unix second fits."""

    def __init__(self, columns: int, most: int) -> None:
        self._columns = columns
        self._most = most
        self._numbers = array("d", bytes(8 * columns * most))
        self._next = 0
        self._held = 0

    def __len__(self) -> int:
        return self._held

    def __iter__(self) -> Iterator[tuple[float, ...]]:
        """Give the rows, the oldest first."""
        first = self._next - self._held
        return (self._row(first + number) for number in range(self._held))

    @property
    def latest(self) -> tuple[float, ...] | None:
        """The row that was added last; none of an empty ring."""
        return self._row(self._next - 1) if self._held else None

    def append(self, *row: float) -> None:
        """Add a row; the oldest one makes room for it."""
        self._put(self._next, row)
        self._next = (self._next + 1) % self._most
        self._held = min(self._held + 1, self._most)

    def replace_latest(self, *row: float) -> None:
        """Change the row that was added last."""
        self._put(self._next - 1, row)

    def _row(self, number: int) -> tuple[float, ...]:
        begin = number % self._most * self._columns
        return tuple(self._numbers[begin : begin + self._columns])

    def _put(self, number: int, row: tuple[float, ...]) -> None:
        if len(row) != self._columns:
            raise ValueError(f"a row has {self._columns} numbers, not {len(row)}")
        begin = number % self._most * self._columns
        for column, value in enumerate(row):
            self._numbers[begin + column] = value
