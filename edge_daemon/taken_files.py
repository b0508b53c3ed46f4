"""Which files of the source directory are taken: remembered as long as they are there, and a little longer."""

from __future__ import annotations

from dataclasses import dataclass

from edge_daemon.frame import ImageFile, KnownFrame

FORGET_AFTER_S = 60.0
"""A file that is gone from the directory for so long is forgotten: listings of network shares may lag behind."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The images in the directory at a moment. `place` is the directory itself, as its device and inode tell it.

    `unknown` are the names of entries that could not be looked at: a file of that name may be there or not.
    """

    place: tuple[int, int]
    files: frozenset[ImageFile]
    unknown: frozenset[str] = frozenset()


class TakenFiles:
    """The files that were taken or have their record. A camera that writes for months fills no memory with them.

    What is gone is forgotten only from the directory that it was in: the empty one that a share leaves behind while
    it is not mounted tells nothing of the share's files. `known` is this object's from now on. Times are any one
    monotonic clock's, in s.
    """

    def __init__(self, known: set[KnownFrame]) -> None:
        self._taken = known
        self._gone: dict[KnownFrame, float] = {}
        """Those that are not in the directory any more, and since when."""
        self._listed: tuple[int, int] | None = None
        self._own: tuple[int, int] | None = None
        """Where the files were taken from."""

    def __contains__(self, file: ImageFile) -> bool:
        return file in self._taken

    def __len__(self) -> int:
        return len(self._taken)

    def add(self, file: ImageFile) -> None:
        """Take note that a file of the last listing was taken."""
        self._taken.add(file)
        self._own = self._listed

    def saw(self, listing: Listing, now: float) -> None:
        """Take note of what is in the directory, and forget what has been gone for long enough."""
        self._listed = listing.place
        absent = self._taken - listing.files
        if len(absent) < len(self._taken):
            self._own = listing.place
        if self._own != listing.place:
            return
        gone = {file for file in absent if file.name not in listing.unknown}
        since = {file: self._gone.get(file, now) for file in gone}
        self._gone = {file: at for file, at in since.items() if now - at < FORGET_AFTER_S}
        self._taken -= since.keys() - self._gone.keys()
