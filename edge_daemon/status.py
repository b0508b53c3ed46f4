"""The edge's state for others to read: one JSON file, always whole."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from common.errors import ConfigurationError

log = structlog.get_logger()


class StatusFile:
    """Writes `status.json` into the state directory."""

    def __init__(self, state_dir: Path) -> None:
        self.path = state_dir / "status.json"
        try:
            state_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"CLEAVE_EDGE_STATE_DIR={state_dir}: {error.strerror}") from error
        self._failing = False

    def write(self, status: Mapping[str, Any]) -> None:
        """Replace the file. A full disk is logged, once, and stops nothing."""
        scratch = self.path.with_suffix(".new")
        try:
            scratch.write_text(json.dumps(status, indent=1) + "\n", encoding="utf-8")
            os.replace(scratch, self.path)
            self._failing = False
        except OSError as error:
            if not self._failing:
                log.warning("status cannot be written", path=str(self.path), reason=error.strerror)
            self._failing = True
