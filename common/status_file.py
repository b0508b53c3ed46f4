"""A daemon's state for others to read: one JSON file, always whole."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from common.errors import ConfigurationError
from common.files import PASSING
from common.json_text import to_json

log = structlog.get_logger()


class StatusFile:
    """Writes `status.json` into the state directory, which `setting` names."""

    def __init__(self, state_dir: Path, setting: str) -> None:
        """Raises `ConfigurationError` for a directory that can be none."""
        self.path = state_dir / "status.json"
        self._made = False
        try:
            self._make_directory()
        except OSError as error:
            if error.errno not in PASSING:
                raise ConfigurationError(f"{setting}={state_dir}: {error.strerror}") from error
        self._failing = False

    def write(self, status: Mapping[str, Any]) -> None:
        """Replace the file. A full disk is logged, once, and stops nothing."""
        scratch = self.path.with_suffix(".new")
        text = to_json(status, indent=1) + "\n"
        try:
            if not self._made:
                self._make_directory()
            try:
                self._replace(scratch, text)
            except FileNotFoundError:
                self._make_again()
                self._replace(scratch, text)
            self._failing = False
        except OSError as error:
            if not self._failing:
                log.warning("status cannot be written", path=str(self.path), reason=error.strerror)
            self._failing = True
            with contextlib.suppress(OSError):  # half a file would keep the room it has
                scratch.unlink(missing_ok=True)

    def _replace(self, scratch: Path, text: str) -> None:
        scratch.write_text(text, encoding="utf-8")
        os.replace(scratch, self.path)

    def _make_again(self) -> None:
        """Make a directory that was deleted, but not what it was in: that may be a disk that is away for now."""
        self.path.parent.mkdir(exist_ok=True)
        log.warning("the state directory was deleted; it is made again", path=str(self.path.parent))

    def _make_directory(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._made = True
