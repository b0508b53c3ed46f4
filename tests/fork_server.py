"""A process beside the tests that has imported the daemons, and forks one whenever a test starts one."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import BinaryIO

from benchmarks.pair import Daemon, Process

KINDS: Mapping[str, str] = {"edge_daemon": "edge", "cloud_daemon": "cloud"}
MOST_DESCRIPTORS = 1_024

by_command = Daemon.spawn
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.forks"])


class Fork:
    """A daemon that the server has forked."""

    def __init__(self, process: ForkServerProcess) -> None:
        self._process = process
        assert process.pid is not None
        self.pid = process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int, /) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    async def wait(self) -> int:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        descriptor = os.dup(self._process.sentinel)  # several may wait
        loop.add_reader(descriptor, ended.set)
        try:
            while (status := self.returncode) is None:
                await ended.wait()
            return status
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)


async def fork(prefix: Sequence[str], module: str, environment: Mapping[str, str], log: BinaryIO) -> Process:
    """Start a daemon as `Daemon.spawn` does; as a fork, unless another command is to start it."""
    if prefix or module not in KINDS:
        return await by_command(prefix, module, environment, log)
    process = _context.Process(
        target=_be, args=(KINDS[module], dict(environment), Path(log.name), Path.cwd()), daemon=True
    )
    await asyncio.to_thread(process.start)  # the first one waits for the server, which imports torch
    return Fork(process)


def _be(kind: str, environment: Mapping[str, str], log: Path, directory: Path) -> None:
    # The server's own: it lives as long as anybody holds them.
    os.closerange(3, MOST_DESCRIPTORS)
    os.chdir(directory)
    from tests.forks import become

    become(kind, environment, log)
