"""Turns on the iperf3 server: it serves one test at a time, so one edge holds it at a time.

Outside of a turn nothing listens; within one the kernel lets nobody but the edge whose turn it is reach the port.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
from collections.abc import AsyncIterator

import structlog

from common import limits
from common.child_process import running_child
from common.errors import ProbeError

log = structlog.get_logger()

LISTEN_TIMEOUT_S = 4.0
WAIT_S = 1.0
"""A turn is waited for this long: the one before it may just be ending."""


class ProbeTurns:
    """Starts an iperf3 server for one test, when nobody else has one running."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self.port = port
        self._free = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def turn(self, peer: str | None) -> AsyncIterator[asyncio.subprocess.Process]:
        """Hold a turn of the edge at the address `peer`: its server listens on entering, and is ended on leaving.

        Raises `ProbeError` when somebody else has the turn, iperf3 is missing or cannot be started, or the port is
        in use.
        """
        if peer is None:
            raise ProbeError("the edge's address is not known")
        if importlib.util.find_spec("iperf3") is None:
            raise ProbeError("the cloud has no iperf3 (pip install iperf3; apt-get install libiperf0)")
        try:
            async with asyncio.timeout(WAIT_S):
                await self._free.acquire()
        except TimeoutError:
            raise ProbeError("another edge is measuring now") from None
        try:
            job = (self._host, str(self.port), str(os.getpid()), peer)
            async with contextlib.AsyncExitStack() as stack:
                try:
                    child = running_child("cloud_daemon.iperf_child", *job)
                    server = await stack.enter_async_context(child)
                except OSError as error:  # no memory, too many processes or open files
                    raise ProbeError(f"iperf3 cannot be started here: {error}") from error
                await self._listens(server)
                yield server
        finally:
            self._free.release()

    async def _listens(self, server: asyncio.subprocess.Process) -> None:
        assert server.stdout is not None
        try:
            async with asyncio.timeout(LISTEN_TIMEOUT_S):
                if await server.stdout.readline() != b"ready\n":
                    await server.wait()
                    raise ProbeError(await self._why(server))
        except TimeoutError:
            raise ProbeError(f"the iperf3 server did not listen within {LISTEN_TIMEOUT_S:g} s") from None

    async def _why(self, server: asyncio.subprocess.Process) -> str:
        assert server.stderr is not None
        said = (await server.stderr.read(4096)).decode(errors="replace").strip().splitlines()
        last = said[-1] if said else f"exit status {server.returncode}"
        return (
            f"the iperf3 server did not start ({last[:200]}); is port {self.port} in use, or libiperf missing "
            "(apt-get install libiperf0)?"
        )


TURN_S = limits.PROBE_DURATION_S + 3.0
"""A turn ends after this time whatever happens: the test, its start and its end."""
