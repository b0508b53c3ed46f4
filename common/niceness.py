"""Work that gives way to other work on the machine's cores."""

from __future__ import annotations

import contextlib
import os
import sys
import threading

HALF_AS_URGENT = 3
"""Niceness above the usual: a third of a core beside other work that would have all of it, and all that it leaves."""
GIVES_WAY = 10
"""A tenth of it."""
MOST = 19


def give_way(niceness: int = GIVES_WAY) -> None:
    """Lower this thread's priority, for good: only root might raise it again. Threads that it starts have it, too.

    `niceness` is above the usual one.

    Nothing is done elsewhere than on Linux, where a thread has its own niceness.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with contextlib.suppress(OSError):
            usual = os.getpriority(os.PRIO_PROCESS, thread)
            os.setpriority(os.PRIO_PROCESS, thread, min(usual + niceness, MOST))
