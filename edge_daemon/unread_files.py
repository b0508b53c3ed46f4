"""Files that could not be read, though the reason says nothing of them: when to try again, and when to stop. Pure.

Mostly it is the disk, or the share, and all files are to be waited for. Where others can be read meanwhile it is the
file (a bad sector), which must not hold the run up for ever.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from edge_daemon.frame import ImageFile

PATIENCE_S = 60.0
"""A file that cannot be read for so long, while others can, is at fault itself."""
FAILURES_IN_A_ROW = 8
"""So many, and nothing read between them, end a round: each may take a share's own time-out."""


class Trouble(StrEnum):
    """What seems to be at fault when files cannot be read."""

    NONE = "none"
    FILES = "files"
    DISK = "disk"


def trouble_of(failures: int, others_can_be_read: bool) -> Trouble:
    """Return what is at fault where so many files cannot be read, and others can or cannot."""
    if not failures:
        return Trouble.NONE
    return Trouble.FILES if others_can_be_read else Trouble.DISK


class UnreadFiles:
    """Remembers which files could not be read, and since when. Times are any one monotonic clock's, in s.

    Files are tried in rounds: `begin`, `failed` or `read` for each file, `judge`.
    """

    def __init__(self) -> None:
        self._since: dict[ImageFile, float] = {}
        """In the order in which they were tried."""
        self._overdue: set[ImageFile] = set()
        self._failed: set[ImageFile] = set()
        self._in_a_row = 0
        self.any_read = False
        """Whether one could be read in this round."""

    def begin(self, ready: Iterable[ImageFile]) -> list[ImageFile]:
        """Begin a round; return the order in which to try: what has failed comes last, the longest ago first."""
        files = list(ready)
        present = set(files)
        self._since = {file: since for file, since in self._since.items() if file in present}
        self._overdue &= present
        self._failed, self._in_a_row, self.any_read = set(), 0, False
        return [*(file for file in files if file not in self._since), *self._since]

    def read(self, file: ImageFile) -> None:
        """Take note that a file could be read."""
        self._settle(file)
        self._in_a_row, self.any_read = 0, True

    def failed(self, file: ImageFile, now: float) -> bool:
        """Take note that a file could not be read; say whether that is its own fault, if others can be read now."""
        since = self._since.pop(file, now)
        self._since[file] = since
        self._failed.add(file)
        self._in_a_row += 1
        return file in self._overdue

    def blame(self, file: ImageFile) -> None:
        """Take note that a file that failed was at fault itself, and is not tried again."""
        self._settle(file)
        self._in_a_row -= 1

    @property
    def failures(self) -> int:
        """How many files of this round are to be tried again."""
        return len(self._failed)

    @property
    def hopeless(self) -> bool:
        """Whether it is no use to try further files in this round."""
        return self._in_a_row >= FAILURES_IN_A_ROW

    def judge(self, others_can_be_read: bool, now: float) -> None:
        """End a round. Only while other files can be read does the time of those that failed run."""
        if not others_can_be_read:
            self._since = dict.fromkeys(self._since, now)
            self._overdue.clear()
            return
        # Tried once more before it counts, beside another: a round may be long, and the disk's trouble short.
        self._overdue |= {file for file in self._failed if now - self._since[file] >= PATIENCE_S}

    def _settle(self, file: ImageFile) -> None:
        self._since.pop(file, None)
        self._overdue.discard(file)
        self._failed.discard(file)
