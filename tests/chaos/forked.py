"""Daemons as forks of this process."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.forks import become

PIECE_BYTES = 97
"""What a torn disk takes at a time."""
PIECE_S = 0.0005


class ForkedDaemon:
    """One daemon process. `torn` makes it write its results in pieces, so that a kill lands within a line.

    `alter` is called in it before the daemon's own `main`.
    """

    def __init__(
        self,
        kind: str,
        environment: Mapping[str, str],
        log: Path,
        torn: Path | None = None,
        alter: Callable[[], None] | None = None,
    ) -> None:
        self.kind = kind
        self.status: int | None = None
        self._log = log
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("CLEAVE_")}
        self.pid = os.fork()
        if self.pid == 0:

            def prepare() -> None:
                if torn is not None:
                    _write_in_pieces(torn)
                if alter is not None:
                    alter()

            become(kind, {**inherited, "CLEAVE_LOG_FORMAT": "json", **environment}, log, prepare)

    @property
    def running(self) -> bool:
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is None

    def kill(self) -> bool:
        """End it by SIGKILL; say whether it was still running."""
        was_running = self.running
        if was_running:
            os.kill(self.pid, signal.SIGKILL)
            self.wait(10.0)
        return was_running and self.status == -signal.SIGKILL

    def wait(self, timeout_s: float) -> int:
        """Wait for its end; return its exit status. Raises `TimeoutError` with the end of its log."""
        deadline = time.monotonic() + timeout_s
        while self.running:
            if time.monotonic() > deadline:
                tail = b"\n".join(self._log.read_bytes().splitlines()[-10:]).decode(errors="replace")
                raise TimeoutError(f"{self.kind} did not end within {timeout_s:g} s:\n{tail}")
            time.sleep(0.002)
        assert self.status is not None
        return self.status


def _write_in_pieces(path: Path) -> None:
    """Have `os.write` take little at a time of what goes to `path`, slowly: as a disk may."""
    write = os.write

    def slowly(descriptor: int, data: bytes | memoryview) -> int:
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                time.sleep(PIECE_S)
                return write(descriptor, memoryview(data)[:PIECE_BYTES])
        return write(descriptor, data)

    os.write = slowly  # type: ignore[assignment]
