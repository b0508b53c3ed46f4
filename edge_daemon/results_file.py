"""Where results go: a file whose records are on the disk before they count, or a pipe, a device, stdout.

What happens to a batch of records in a file, and what a kill or a power cut leaves after each step:

    1  cut what a failed attempt left      whole lines, all of them counted
    2  write                               … and perhaps whole lines that nobody has counted, perhaps a torn one
    3  fsync                               … the same, and now it survives a power cut
    4  counted                             whole lines, all of them counted

The next start reads the lines, cuts off a torn one, and does again what has none: exactly one record for each file.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import Protocol

import structlog

from common.errors import CleaveError, ConfigurationError
from common.files import PASSING, lock_exclusively, make_directory, sync_directory, write_all
from edge_daemon.results_rotation import Rotation, remove_old, rotate, rotated
from edge_daemon.results_scan import Scan, aside, cut_out, scan
from edge_daemon.results_stream import ResultsStream

log = structlog.get_logger()

OPERATORS = frozenset(
    {
        errno.ENOENT,
        errno.EEXIST,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EACCES,
        errno.EPERM,
        errno.ELOOP,
        errno.ENAMETOOLONG,
    }
)
"""What is wrong with the setting itself, when the file is first opened."""


class ResultsUnavailableError(CleaveError):
    """The results cannot be read or are somebody else's now: a restart may find them."""


class ResultsTarget(Protocol):
    """Where records go. `found` is what is there already; `path`, where they can be read again, if they can."""

    name: str
    path: Path | None
    found: Scan

    def commit(self, lines: bytes) -> None:
        """Append whole lines, all or none, and return once they are safe. Raises `OSError`."""

    def free_bytes(self) -> int | None:
        """Return the room there is; none where that says nothing."""

    def close(self) -> None: ...


def open_results(target: str, rotation: Rotation | None = None) -> ResultsTarget:
    """Open what `CLEAVE_EDGE_RESULTS` names; a file is rotated as `rotation` says.

    Raises `ConfigurationError` when it can be no results file, `ResultsUnavailableError` when it is none now.
    """
    if target == "-":
        return ResultsStream()
    path = Path(target).expanduser()
    try:
        return ResultsStream(path) if path.exists() and not path.is_file() else ResultsFile(path, rotation)
    except OSError as error:
        said = f"CLEAVE_EDGE_RESULTS={path}: {error.strerror}"
        raise (ConfigurationError if error.errno in OPERATORS else ResultsUnavailableError)(said) from error


class ResultsFile:
    """A file of records, held by one daemon at a time. Its methods block on the disk."""

    def __init__(self, path: Path, rotation: Rotation | None = None) -> None:
        self.name = str(path)
        self.path: Path | None = path
        self._path = path
        self._rotation = rotation
        self._cannot_rotate: str | None = None
        self._cannot_remove: str | None = None
        self._descriptor = -1
        self._cut_to: int | None = None
        try:
            make_directory(path.parent)
            self.found = self._open()
        except OSError as error:
            if error.errno not in PASSING:
                raise
            log.error("results cannot be opened yet, frames wait", path=self.name, reason=error.strerror)
            self.found = scan(path) if path.exists() else Scan()
        self._find_rotated()
        if self.found.answered:
            log.info("results continued", path=self.name, frames=len(self.found.answered))
        if self.found.repeated:
            log.warning(
                "results: files with more than one record", path=self.name, records=self.found.repeated
            )

    def commit(self, lines: bytes) -> None:
        """Append whole lines and return once they are on the disk. Raises `OSError`: then none of them counts.

        What a failed attempt may have left is cut off before the next one.
        """
        self._be_there()
        self._cut()
        self._rotate_if_full(len(lines))
        self._cut_to = os.fstat(self._descriptor).st_size
        try:
            write_all(self._descriptor, lines)
            os.fsync(self._descriptor)
        except OSError:
            # Also after fsync: the kernel forgets what it could not write, and would say yes the next time.
            with contextlib.suppress(OSError):
                self._cut()
            raise
        self._cut_to = None
        if os.fstat(self._descriptor).st_nlink == 0:
            raise OSError(errno.ENOENT, "the file was deleted while results were written", self.name)

    def free_bytes(self) -> int | None:
        with contextlib.suppress(OSError):
            room = os.statvfs(self._path.parent)
            return room.f_bavail * room.f_frsize
        return None

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _find_rotated(self) -> None:
        """Take note of the records in rotated files, too. Raises `OSError`."""
        files: list[Path] = []
        with contextlib.suppress(*(() if self._rotation else (PermissionError,))):
            files = rotated(self._path)
        for path in files:
            found = scan(path)
            self.found.add(found)
            if found.damaged or found.torn_at is not None:
                log.warning(
                    "results: a rotated file is damaged; what it does not tell is done again",
                    path=str(path),
                    bytes=found.damaged_bytes,
                )

    def _rotate_if_full(self, nbytes: int) -> None:
        """Begin a new file if `nbytes` more are too many for this one. One that cannot be rotated grows on."""
        size = os.fstat(self._descriptor).st_size
        if self._rotation is None or not size or size + nbytes <= self._rotation.nbytes:
            return
        try:
            full = rotate(self._path)
        except OSError as error:
            if self._cannot_rotate != error.strerror:
                log.error(
                    "results cannot be rotated; the file grows on", path=self.name, reason=error.strerror
                )
            self._cannot_rotate = error.strerror
            return
        log.info("results rotated", path=self.name, full=str(full), bytes=size)
        self._cannot_rotate = None
        self._open()
        self._remove_old(self._rotation.keep)

    def _remove_old(self, keep: int) -> None:
        """Remove rotated files that are not kept. Those that cannot be removed stay until the next rotation."""
        try:
            remove_old(self._path, keep)
        except OSError as error:
            if self._cannot_remove != error.strerror:
                log.error("old results cannot be removed; they stay", path=self.name, reason=error.strerror)
            self._cannot_remove = error.strerror
        else:
            self._cannot_remove = None

    def _be_there(self) -> None:
        """Have the file open under its own name: it may have been deleted, or moved away by who rotates logs."""
        if self._descriptor >= 0:
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.stat(self._path), os.fstat(self._descriptor)):
                    return
            if not self._path.parent.is_dir():
                raise OSError(errno.ENOENT, "its directory is gone", self.name)
            self._cut()
            log.warning(
                "results: the file was deleted or moved away; going on with a new one", path=self.name
            )
        else:
            make_directory(self._path.parent)
        self._open()

    def _open(self) -> Scan:
        """Open the file, whole and ours alone. Raises `OSError`, `ResultsUnavailableError`."""
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        before, descriptor = self._descriptor, os.open(self._path, flags, 0o666)
        try:
            hold(descriptor, self._path)
            found = scan(self._path)
            without = self._without_damage(found) if found.damaged else None
            if without is not None:
                os.close(descriptor)
                descriptor = without
                hold(descriptor, self._path)
            else:
                self._end_last_line(descriptor, found)
            # What a killed daemon wrote and did not see to the disk counts from now on.
            os.fsync(descriptor)
            sync_directory(self._path.parent)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor, self._cut_to = descriptor, None
        if before >= 0:
            os.close(before)
        return found

    def _without_damage(self, found: Scan) -> int | None:
        """Put what is damaged aside; return the new file's descriptor, none if there is no room for that."""
        said = {"path": self.name, "bytes": found.damaged_bytes, "first_at": found.damaged[0].start}
        try:
            descriptor = cut_out(self._path, found)
        except OSError as error:
            log.error("results are damaged, and cannot be repaired now", **said, reason=error.strerror)
            return None
        log.error(
            "results were damaged: what is no text was moved aside, its frames are done again",
            **said,
            aside=str(aside(self._path)),
        )
        return descriptor

    def _end_last_line(self, descriptor: int, found: Scan) -> None:
        """Have the next record begin on a line of its own."""
        if found.torn_at is not None:
            log.warning("results: a torn last line was cut off; its frame is done again", path=self.name)
            os.ftruncate(descriptor, found.torn_at)
        elif found.damaged and found.damaged[-1].end == found.nbytes:
            write_all(descriptor, b"\n")

    def _cut(self) -> None:
        """Cut off what a failed attempt may have left."""
        if self._cut_to is not None:
            os.ftruncate(self._descriptor, self._cut_to)
            self._cut_to = None


def hold(descriptor: int, path: Path) -> None:
    """Keep other daemons from the file until it is closed, by whatever end. Raises `ResultsUnavailableError`."""
    try:
        locked = lock_exclusively(descriptor)
    except BlockingIOError:
        raise ResultsUnavailableError(
            f"CLEAVE_EDGE_RESULTS={path}: another cleave-edge writes to it; two would do each frame twice. "
            "End that one, or name another file"
        ) from None
    if not locked:
        log.warning("results: this file system knows no locks", path=str(path))
