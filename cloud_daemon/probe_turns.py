"""Turns on the iperf3 server: it serves one test at a time, so one edge holds it at a time."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import sys
from collections.abc import AsyncIterator

import psutil
import structlog

from common import limits
from common.errors import ProbeError

log = structlog.get_logger()

LISTEN_TIMEOUT_S = 4.0
LOOK_AGAIN_S = 0.02
WAIT_S = 1.0
"""A turn is waited for this long: the one before it may just be ending."""


class ProbeTurns:
    """Starts an iperf3 server for one test, when nobody else has one running."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self.port = port
        self._free = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[asyncio.subprocess.Process]:
        """Hold a turn: the server listens on entering, and is ended on leaving.

        Raises `ProbeError` when somebody else has the turn, iperf3 is missing or the port is in use.
        """
        try:
            async with asyncio.timeout(WAIT_S):
                await self._free.acquire()
        except TimeoutError:
            raise ProbeError("another edge is measuring now") from None
        try:
            server = await self._start()
            try:
                yield server
            finally:
                if server.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        server.kill()
                await server.wait()
        finally:
            self._free.release()

    async def _start(self) -> asyncio.subprocess.Process:
        if importlib.util.find_spec("iperf3") is None:
            raise ProbeError("the cloud has no iperf3 (pip install iperf3; apt-get install libiperf0)")
        server = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cloud_daemon.iperf_child", self._host, str(self.port), str(os.getpid()),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C on the terminal is for the daemon, which ends its children
        )  # fmt: skip
        try:
            async with asyncio.timeout(LISTEN_TIMEOUT_S):
                while not self._listening(server.pid):
                    if server.returncode is not None:
                        raise ProbeError(await self._why(server))
                    await asyncio.sleep(LOOK_AGAIN_S)
        except BaseException as error:
            if server.returncode is None:
                server.kill()
            await server.wait()
            if isinstance(error, TimeoutError):
                raise ProbeError(f"the iperf3 server did not listen within {LISTEN_TIMEOUT_S:g} s") from None
            raise
        return server

    def _listening(self, pid: int) -> bool:
        try:
            connections = psutil.Process(pid).net_connections(kind="tcp")
        except psutil.Error:
            return False
        return any(
            c.status == psutil.CONN_LISTEN and c.laddr and c.laddr.port == self.port for c in connections
        )

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
