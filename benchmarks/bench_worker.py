"""A process that answers each line it is sent with a line of JSON: how baselines are driven."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Sequence
from typing import Any, Self

READY_S = 180.0
"""For importing torch and loading the largest model on a slow machine."""
ANSWER_S = 300.0


class WorkerError(RuntimeError):
    """A worker ended, or gave no answer in time; what it said is on stderr."""


class Worker:
    """One process. Use it as an async context manager: on entering it has said that it is ready."""

    def __init__(self, module: str, arguments: Sequence[str], prefix: Sequence[str] = ()) -> None:
        self._command = [*prefix, sys.executable, "-m", module, *arguments]
        self._name = " ".join([module, *arguments[:1]])
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=pipe,
            stdout=pipe,
            start_new_session=True,  # Ctrl-C is for whoever drives it
        )
        try:
            await self._read(READY_S)
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def ask(self, line: str) -> dict[str, Any]:
        """Send a line, return the answer. Raises `WorkerError`."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        await self._process.stdin.drain()
        return await self._read(ANSWER_S)

    async def stop(self) -> None:
        """End the process, which ends by itself when its standard input does; by force after some seconds."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(5.0):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _read(self, timeout_s: float) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(timeout_s):
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise WorkerError(f"{self._name}: no answer within {timeout_s:g} s") from None
        if not line:
            raise WorkerError(f"{self._name} ended with status {await self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer
