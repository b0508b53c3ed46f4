"""Files of JSON lines that grow while they are read: what a daemon writes, looked at every moment."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any


class JsonLines:
    """The objects of a file, each line read once, whatever the file has grown to.

    A daemon's records are looked at twenty times a second. Reading thousands of lines each time would keep a
    core busy, and slow down what is being measured.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._objects: list[dict[str, Any]] = []

    def read(self) -> list[dict[str, Any]]:
        """Return all objects so far; leave out what is no object, and a last line still being written.

        A file that has become shorter is another one, and read from its beginning.
        """
        try:
            with self._path.open("rb") as file:
                if file.seek(0, 2) < self._offset:
                    self._offset, self._objects = 0, []
                file.seek(self._offset)
                new = file.read()
        except FileNotFoundError:
            return []
        whole = new[: new.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            with contextlib.suppress(ValueError):
                document = json.loads(line)
                if isinstance(document, dict):
                    self._objects.append(document)
        return list(self._objects)
