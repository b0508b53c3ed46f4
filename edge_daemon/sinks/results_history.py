"""The results files as they were at the start: what a sink was not given before the daemon was killed.

A record that is safe in the results file is handed to the sinks a moment later, and a kill may come in between; and
what a spool had not on the disk when the power was cut is missing. The results file has both.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import structlog

from edge_daemon.results_rotation import rotated
from edge_daemon.results_scan import BEGINNING, MOST_LINE_BYTES
from edge_daemon.sinks.messages import Message

log = structlog.get_logger()

CHUNK_RECORDS = 256


class ResultsHistory:
    """What is in a results file and its rotated ones now; what is appended later is not seen.

    The files are held open until `close`, whatever becomes of their names. Without a path there is nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self.name = str(path) if path is not None else ""
        self._files: list[tuple[int, int]] = []
        try:
            for file in [*rotated(path), path] if path is not None else []:
                with contextlib.suppress(FileNotFoundError):
                    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
                    self._files.append((descriptor, os.fstat(descriptor).st_size))
        except OSError as error:
            log.error("sinks: results cannot be read", path=self.name, reason=error.strerror)

    @property
    def last_id(self) -> str:
        """The id of the last record; empty if there is none. Raises `OSError`."""
        for descriptor, size in reversed(self._files):
            found = ""
            for _, message in _messages(descriptor, 0, size):
                found = message.id
            if found:
                return found
        return ""

    def after(self, marks: Sequence[str]) -> Iterator[list[Message]]:
        """Yield what follows the first of the records `marks` that is there; everything if none is.

        Raises `OSError`.
        """
        at = self._places(marks)
        place = next((at[mark] for mark in marks if mark in at), (0, 0))
        chunk: list[Message] = []
        for index, (descriptor, size) in enumerate(self._files[place[0] :]):
            for _, message in _messages(descriptor, place[1] if index == 0 else 0, size):
                chunk.append(message)
                if len(chunk) == CHUNK_RECORDS:
                    yield chunk
                    chunk = []
        if chunk:
            yield chunk

    def _places(self, marks: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Find after which place of which file each mark is done; the youngest file first, and often the last."""
        found: dict[str, tuple[int, int]] = {}
        for index in reversed(range(len(self._files))):
            descriptor, size = self._files[index]
            for end, message in _messages(descriptor, 0, size):
                if message.id in marks and found.get(message.id, (index,))[0] == index:
                    found[message.id] = (index, end)
            if marks and marks[0] in found:
                break
        return found

    def close(self) -> None:
        for descriptor, _ in self._files:
            os.close(descriptor)
        self._files = []


def _messages(descriptor: int, start: int, end: int) -> Iterator[tuple[int, Message]]:
    """Yield the records between two places of a file, each with the place it ends at."""
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(start)
        at = start
        while at < end and (line := file.readline(min(end - at, MOST_LINE_BYTES))):
            at += len(line)
            if line.startswith(BEGINNING) and line.endswith(b"}\n"):
                yield at, Message.of(line[:-1])
