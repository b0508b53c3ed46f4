"""What is wrong with a disk: said when it begins and when it is over, and not with each attempt in between."""

from __future__ import annotations

from pathlib import Path

from structlog.typing import FilteringBoundLogger


class DiskTrouble:
    """Why a spool cannot be `written`, or `read`, if it cannot."""

    def __init__(self, log: FilteringBoundLogger, path: Path, what: str) -> None:
        self._log = log
        self._path = str(path)
        self._what = what
        self.reason: str | None = None

    def go_on(self, error: OSError) -> None:
        """Take note of an attempt that failed; another reason than before is said."""
        reason = error.strerror or str(error)
        if reason != self.reason:
            self._log.error(f"sink: the spool cannot be {self._what}", path=self._path, reason=reason)
        self.reason = reason

    def end(self) -> None:
        """Take note of an attempt that did not fail."""
        if self.reason is not None:
            self._log.info(f"sink: the spool can be {self._what} again", path=self._path)
        self.reason = None
