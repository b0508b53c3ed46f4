"""Child processes: what one does first, so that it never outlives its daemon; and how the daemon ends one."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys

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


async def end_child(child: asyncio.subprocess.Process) -> None:
    """Kill a child unless it has ended, and wait until nothing of it is left, its pipes to us included.

    Nobody else may read them. (`wait` returns before they are closed: a loop that ends then leaves them open.)
    """
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
    await child.communicate()
