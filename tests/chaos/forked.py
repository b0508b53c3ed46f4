"""Daemons as forks of a process that has imported torch already: they start in a third of a second, not in three.

A fork is a process of its own, in a session of its own, and runs the command's own `main`; what it lacks is only the
time that importing takes. The process that forks must have computed nothing with torch, or its threads would be
missing in the fork.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import cloud_daemon.__main__
import cloud_daemon.daemon
import edge_daemon.__main__
import edge_daemon.daemon

MAINS: Mapping[str, Callable[[], int]] = {
    "edge": edge_daemon.__main__.main,
    "cloud": cloud_daemon.__main__.main,
}
PIECE_BYTES = 97
"""What a torn disk takes at a time."""
PIECE_S = 0.0005


class ForkedDaemon:
    """One daemon process. `torn` makes it write its results in pieces, so that a kill lands within a line.

    On SIGUSR1 it writes to `tasks`, if that is given, a line for each asyncio task that it has.
    """

    def __init__(
        self,
        kind: str,
        environment: Mapping[str, str],
        log: Path,
        *,
        torn: Path | None = None,
        tasks: Path | None = None,
    ) -> None:
        self.kind = kind
        self.status: int | None = None
        self._log = log
        self.pid = os.fork()
        if self.pid == 0:
            _become(kind, environment, log, torn, tasks)

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


def _become(
    kind: str, environment: Mapping[str, str], log: Path, torn: Path | None, tasks: Path | None
) -> None:
    """Be the daemon, to the end of this process."""
    status = 70
    try:
        os.setsid()
        with log.open("ab") as file, open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), 0)
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        for name in [name for name in os.environ if name.startswith("CLEAVE_")]:
            del os.environ[name]
        os.environ.update({"CLEAVE_LOG_FORMAT": "json", **environment})
        sys.argv = [f"cleave-{kind}"]
        if torn is not None:
            _write_in_pieces(torn)
        if tasks is not None:
            _tell_tasks_on_signal(tasks)
        status = MAINS[kind]()
    except Exception:
        traceback.print_exc()
        raise
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


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


def _tell_tasks_on_signal(path: Path) -> None:
    """Have SIGUSR1 write what tasks there are; what nobody took (errors of tasks, open sockets) goes to the log."""
    warnings.simplefilter("always", ResourceWarning)

    def tell(*_: object) -> None:
        gc.collect()
        tasks = sorted(getattr(task.get_coro(), "__qualname__", repr(task)) for task in asyncio.all_tasks())
        scratch = path.with_suffix(".part")
        scratch.write_text("".join(f"{name}\n" for name in tasks))
        scratch.replace(path)

    signal.signal(signal.SIGUSR1, tell)
