"""What a child process does first, so that it never outlives the daemon that started it."""

from __future__ import annotations

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
