"""An outbox with its spool in a directory, as a sink has it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from edge_daemon.sinks.outbox import Outbox
from edge_daemon.sinks.results_history import ResultsHistory
from edge_daemon.sinks.sinks import Sender
from edge_daemon.sinks.spool import Spool, SpoolBound


def outbox(
    directory: Path, *, results: Path | None = None, bound: SpoolBound | None = None, name: str = "test"
) -> Outbox:
    bound = bound or SpoolBound(1_000_000, 100_000)
    spool = Spool(directory / "spool", bound, synced=results is None)
    return Outbox(name, spool, ResultsHistory(results))


@asynccontextmanager
async def running(box: Outbox) -> AsyncIterator[Outbox]:
    """Have the outbox opened and fed until the end of the block."""
    task = asyncio.create_task(box.run())
    try:
        yield box
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await box.close(5.0)


@asynccontextmanager
async def delivering(made: Callable[[], Sender]) -> AsyncIterator[Sender]:
    """Have a sink deliver until the end of the block; a sink that ends by itself fails the test."""
    sender = made()
    async with running(sender.outbox):
        task = asyncio.create_task(sender.run())
        try:
            yield sender
            assert not task.done(), task.exception()
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
