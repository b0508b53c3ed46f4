"""Work that gives way to all else on the machine's cores."""

from __future__ import annotations

import contextlib
import os
import sys
import threading

GIVES_WAY = 10
"""Niceness above the usual: a tenth of a core beside other work that would have all of it, and all that it leaves."""
MOST = 19


def give_way() -> None:
    """Lower this thread's priority, for good: only root might raise it again. Threads that it starts have it, too.

    Nothing is done elsewhere than on Linux, where a thread has its own niceness.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with contextlib.suppress(OSError):
            usual = os.getpriority(os.PRIO_PROCESS, thread)
            os.setpriority(os.PRIO_PROCESS, thread, min(usual + GIVES_WAY, MOST))
