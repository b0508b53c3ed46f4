"""A capturing process, from its start to its end: no process, no socket and no task is left after it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator

import structlog

from common import limits
from common.child_process import start_child
from common.errors import SourceError
from common.hidden import hide_secrets
from common.wire.incoming import aligned_buffer
from edge_daemon.capture_job import NEXT, PREFIX, CaptureJob, Ended, Message, read_head, read_prefix

log = structlog.get_logger()

LAST_WORDS_BYTES = 2_000
"""What is kept of a process's standard error, for the reason when it crashes."""


class CaptureProcess:
    """The daemon's end of a running capturing process."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._last_words = b""
        self._said_all = asyncio.Event()
        self.pid = process.pid

    def ask(self) -> None:
        """Ask for the next frame. Only one may be asked for at a time."""
        self._writer.write(NEXT)

    async def receive(self) -> tuple[Message, memoryview]:
        """Return what the process says next, a frame's JPEG with it.

        A process that ends without a word has `Ended`, too. Raises `SourceError` for garbage.
        """
        try:
            head_bytes, payload_bytes = read_prefix(await self._reader.readexactly(PREFIX.size))
            message = read_head(await self._reader.readexactly(head_bytes))
            payload = aligned_buffer(payload_bytes)
            payload[:] = await self._reader.readexactly(payload_bytes)
        except (asyncio.IncompleteReadError, ConnectionError):
            return Ended(await self._why_it_ended()), memoryview(b"")
        return message, payload

    async def _why_it_ended(self) -> str:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limits.CAPTURE_ENDING_S):
                await self._process.wait()
                await self._said_all.wait()  # what it wrote last may not be read yet
        lines = self._last_words.decode(errors="replace").strip().splitlines()
        said = f": {hide_secrets(lines[-1])[:200]}" if lines else ""
        return f"the capturing process ended with status {self._process.returncode}{said}"

    async def listen(self) -> None:
        """Read standard error to its end: libraries write there, and would wait if nobody read."""
        assert self._process.stderr is not None
        while said := await self._process.stderr.read(4096):
            self._last_words = (self._last_words + said)[-LAST_WORDS_BYTES:]
        self._said_all.set()

    async def end(self) -> None:
        """Kill the process and wait for its end. A driver may hold it; then there will be no second one beside it."""
        self._writer.close()
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        try:
            async with asyncio.timeout(limits.CAPTURE_ENDING_S):
                await self._process.wait()
        except TimeoutError:
            log.error("a capturing process cannot be killed, a driver holds it; waiting", pid=self.pid)
            await self._process.wait()


@contextlib.asynccontextmanager
async def capturing(job: CaptureJob) -> AsyncIterator[CaptureProcess]:
    """Run a capturing process; it has ended when the context has. Raises `SourceError` if it cannot be started."""
    ours, its = socket.socketpair()
    try:
        process = await start_child(
            "edge_daemon.capture_child",
            str(os.getpid()),
            str(its.fileno()),
            pass_fds=(its.fileno(),),
            stdout=asyncio.subprocess.DEVNULL,  # the results' place: no library may write there
        )
    except BaseException as error:
        ours.close()
        if isinstance(error, OSError):
            raise SourceError(f"no capturing process can be started: {error.strerror}") from error
        raise
    finally:
        its.close()
    reader, writer = await asyncio.open_connection(sock=ours, limit=limits.MIB)
    child = CaptureProcess(process, reader, writer)
    listening = asyncio.create_task(child.listen())
    try:
        writer.write(
            job.to_bytes()
        )  # not an argument: everybody may read these, and there are passwords in it
        yield child
    finally:
        try:
            await child.end()
            # It ends with the pipe, unless somebody whom a library has started holds that.
            await asyncio.wait([listening], timeout=limits.CAPTURE_ENDING_S)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
