"""Files that are whole whenever somebody reads them, and on the disk when we say so."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import tempfile
from collections.abc import Collection
from pathlib import Path

PASSING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""What may be over in a minute: a full disk, or one that is read-only for now. Nobody's mistake."""

DAY_S = 86_400.0
"""What is younger may be another process's that works in the same directory: by mistake, or for a moment."""


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace `path` by `content`, durably: at every moment it is the old file or the whole new one."""
    data = content.encode() if isinstance(content, str) else content
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
        sync_directory(path.parent)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of `data`. Raises `OSError` when only a part of it could be written, or none."""
    rest = memoryview(data)
    while rest.nbytes:
        rest = rest[os.write(descriptor, rest) :]


def sync_directory(directory: Path) -> None:
    """Make the names in a directory as durable as the files' contents. Raises `OSError`.

    Where that cannot be asked for (some network file systems, a directory that may not be read) it is left to them.
    """
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise
    finally:
        os.close(descriptor)


def lock_exclusively(descriptor: int) -> bool:
    """Keep other processes from a file until it is closed, by whatever end; say whether its file system knows locks.

    Raises `BlockingIOError` when another process has it, `OSError` when that cannot be known.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        return False
    return True


def make_directory(directory: Path) -> None:
    """Make a directory and those above it, each durably. Raises `OSError`."""
    if directory.is_dir():
        return
    make_directory(directory.parent)
    directory.mkdir(exist_ok=True)
    sync_directory(directory.parent)


def remove_outdated(
    saved: Path, pattern: str, *, spared: Collection[Path] = (), newest: int = 0, least_age_s: float = DAY_S
) -> None:
    """Remove what lies beside `saved`, which was just written, under a name of `pattern` and is no longer needed.

    All but `saved`, the `spared`, the `newest` of the others, and those that were written less than `least_age_s`
    before `saved`, by the file system's own clock. What cannot be looked at or removed stays.
    """
    ages: list[tuple[float, Path]] = []
    with contextlib.suppress(OSError):
        now = saved.stat().st_mtime
        for path in saved.parent.glob(pattern):
            if path != saved and path not in spared:
                ages.append((now - path.stat().st_mtime, path))
    for age_s, path in sorted(ages)[newest:]:
        if age_s >= least_age_s:
            with contextlib.suppress(OSError):
                path.unlink()


def put_aside(path: Path) -> Path:
    """Rename a damaged file, so that it is in nobody's way and can be looked at; return its new name.

    One that was put aside before is replaced. A file that cannot be renamed stays.
    """
    kept = path.with_name(f"{path.name}.damaged")
    with contextlib.suppress(OSError):
        os.replace(path, kept)
    return kept
