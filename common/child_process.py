"""Child processes: what one does first, so that it never outlives its daemon; and how the daemon ends one."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence

PR_SET_PDEATHSIG = 1
"""prctl(2): the signal this process gets when its parent dies. Linux only."""


def end_with_parent(parent: int, most_s: int | None) -> None:
    """End this process when `parent` (a process id) ends, and after `most_s` seconds in any case, if given."""
    if most_s is not None:
        signal.alarm(most_s)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before it could be watched
        sys.exit(1)


async def start_child(
    module: str, *arguments: str, stdout: int = asyncio.subprocess.PIPE, pass_fds: Sequence[int] = ()
) -> asyncio.subprocess.Process:
    """Run a module of ours as a child, its standard error piped to us. Raises `OSError` if it cannot be started.

    Whoever is cancelled meanwhile leaves nothing of it behind. (Left to itself the loop kills a child whose creation
    is cancelled, but does not wait for its end.)
    """
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            sys.executable, "-m", module, *arguments,
            pass_fds=pass_fds,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=stdout,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C on the terminal is for the daemon, which ends its children
        )
    )  # fmt: skip
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        with contextlib.suppress(OSError):
            await end_child(await starting)
        raise


@contextlib.asynccontextmanager
async def running_child(module: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a module of ours as a child, its output piped to us; nothing of it is left when the context has ended."""
    child = await start_child(module, *arguments)
    try:
        yield child
    finally:
        await end_child(child)


async def end_child(child: asyncio.subprocess.Process) -> None:
    """Kill a child unless it has ended, and wait until nothing of it is left, its pipes to us included.

    Nobody else may read them. (`wait` returns before they are closed: a loop that ends then leaves them open.)
    """
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
    await child.communicate()
