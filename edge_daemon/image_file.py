"""Reading the images of the source directory, and whose fault it is where one cannot be read. It blocks."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from common import limits
from common.wire.incoming import aligned_buffer
from edge_daemon.frame import ImageFile

_SAID_OF_OTHERS = (
    *("EIO", "ESTALE", "ETIMEDOUT", "ENODEV", "ENXIO", "EREMOTEIO", "ENOLINK", "EPROTO"),
    *("ENOTCONN", "ECONNABORTED", "ECONNREFUSED", "ECONNRESET", "ESHUTDOWN"),
    *("EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETRESET", "ENETUNREACH"),
    *("EMFILE", "ENFILE", "ENOMEM", "ENOBUFS", "EAGAIN", "EINTR", "EBUSY"),
    *("EKEYEXPIRED", "EKEYREVOKED", "EKEYREJECTED", "ENOKEY"),
)
NOT_THE_FILES_FAULT = frozenset(getattr(errno, name) for name in _SAID_OF_OTHERS if hasattr(errno, name))
"""Why a file cannot be read now, and may be read later: the disk, the share or this machine is in trouble."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A file's bytes; or `error`, which says why they make no frame."""

    data: memoryview = field(default_factory=lambda: memoryview(b""))
    error: str | None = None


def read_image(directory: Path, found: ImageFile) -> Image | None:
    """Return what a file holds, or why that can be no frame; None if it is not `found` (any more).

    Raises `OSError` for what says nothing of the file (`NOT_THE_FILES_FAULT`).
    """
    if found.size == 0:
        return Image(error="the file is empty")
    if found.size > limits.MAX_FRAME_BYTES:
        return Image(error=f"the file has {found.size} bytes, {limits.MAX_FRAME_BYTES} are allowed")
    data, read = aligned_buffer(found.size), 0
    try:
        with open(directory / found.name, "rb", buffering=0) as file:
            if _identity(file.fileno(), found.name) != found:
                return None  # replaced since it was listed: another frame, which will be found
            # A disk that fails in the middle gives what is before that, and the error only when it is asked again.
            while read < found.size and (more := file.readinto(data[read:])):
                read += more
            if _identity(file.fileno(), found.name) != found:
                return None  # still being written
    except FileNotFoundError:
        return None
    except OSError as failure:
        if failure.errno in NOT_THE_FILES_FAULT:
            raise
        return Image(error=f"the file cannot be read: {failure.strerror}")
    if read != found.size:
        return Image(data=data, error=f"only {read} of its {found.size} bytes could be read")
    return Image(data=data)


def any_can_be_read(paths: Iterable[Path]) -> bool:
    """Say whether one of these files gives a byte, from where it lies and not from this machine's memory."""
    for path in paths:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                if os.pread(descriptor, 1, 0):
                    return True
            finally:
                os.close(descriptor)
        except OSError:
            continue
    return False


def ends_like_an_image(path: Path) -> bool:
    """Say whether a file ends as whole JPEGs and PNGs do, so that it need not be watched any longer."""
    try:
        with path.open("rb") as file:
            file.seek(-12, os.SEEK_END)
            end = file.read()
    except OSError:
        return False
    return end.endswith(b"\xff\xd9") or b"IEND" in end


def _identity(descriptor: int, name: str) -> ImageFile:
    stat = os.fstat(descriptor)
    return ImageFile(name, stat.st_size, stat.st_mtime_ns)
