"""Reads a directory's images in rounds, waits where the disk or the share is in trouble, and says so once."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path

import structlog

from edge_daemon.disk_thread import DiskThread
from edge_daemon.frame import ImageFile
from edge_daemon.image_file import Image, any_can_be_read, read_image
from edge_daemon.unread_files import PATIENCE_S, Trouble, UnreadFiles, trouble_of

log = structlog.get_logger()

WITNESSES = 4
"""So many of the files that were taken are asked for a byte, to tell a bad file from a bad disk."""


class ImageReader:
    """Reads files of one directory: in rounds of `begin`, `read` for each file until `hopeless`, and `end`.

    What blocks is done by the caller's `disk`.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._unread = UnreadFiles()
        self._taken: Sequence[str] = ()
        self.trouble = Trouble.NONE
        self.last_error: str | None = None

    def begin(self, ready: Sequence[ImageFile], taken: Sequence[str]) -> list[ImageFile]:
        """Begin a round; return its files in the order in which to read them.

        `taken` are the names of others that are there and were read once: they tell a bad file from a bad disk.
        """
        self._taken = taken
        return self._unread.begin(ready)

    @property
    def hopeless(self) -> bool:
        """Whether it is no use to read further files in this round."""
        return self._unread.hopeless

    async def read(self, disk: DiskThread, found: ImageFile) -> Image | None:
        """Return a file's image, or why it makes none; None where it is not there any more, or cannot be read yet."""
        try:
            image = await disk.run(read_image, self._directory, found)
        except OSError as failure:
            self.last_error = failure.strerror
            if not self._unread.failed(found, time.monotonic()):
                return None
            if not await self._one_can_be_read(disk):
                self._unread.judge(False, time.monotonic())
                return None
            self._unread.blame(found)
            return Image(
                error=f"the file could not be read for {PATIENCE_S:.0f} s, and others could: {failure.strerror}"
            )
        if image is not None and image.error is None:
            self._unread.read(found)
        return image

    async def end(self, disk: DiskThread) -> bool:
        """End a round; say whether files are to be read again."""
        failures, others_read = self._unread.failures, self._unread.any_read
        if failures and not others_read:
            others_read = await self._one_can_be_read(disk)
        self._unread.judge(others_read, time.monotonic())
        trouble = trouble_of(failures, others_read)
        if trouble is not self.trouble:
            self._say(trouble, failures)
        self.trouble = trouble
        return failures > 0

    async def _one_can_be_read(self, disk: DiskThread) -> bool:
        asked = random.sample(self._taken, min(WITNESSES, len(self._taken)))
        return await disk.run(any_can_be_read, [self._directory / name for name in asked])

    def _say(self, trouble: Trouble, failures: int) -> None:
        path = str(self._directory)
        if trouble is Trouble.NONE:
            log.info("no file waits to be read again", path=path)
            return
        log.warning(
            "files cannot be read, and no others: disk, share or machine are at fault; waiting until they can be"
            if trouble is Trouble.DISK
            else f"files cannot be read, though others can; after {PATIENCE_S:.0f} s of trying each fails by itself",
            path=path,
            files=failures,
            reason=self.last_error,
        )
