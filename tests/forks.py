"""Be a daemon, as a fork of a process that has imported torch: it starts in a third of a second, not in three.

A fork is a process of its own, in a session of its own, and runs the command's own `main`; what it lacks is only the
time that importing takes. The process that forks must have computed nothing with torch, or its threads would be
missing in the fork.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

from common.child_process import PR_SET_PDEATHSIG
from common.heap import decline_huge_pages

decline_huge_pages()  # as a daemon does, before numpy comes with the rest

import cloud_daemon.__main__  # noqa: E402
import cloud_daemon.daemon  # noqa: E402
import edge_daemon.__main__  # noqa: E402
import edge_daemon.daemon  # noqa: E402

MAINS: Mapping[str, Callable[[], int]] = {
    "edge": edge_daemon.__main__.main,
    "cloud": cloud_daemon.__main__.main,
}


def end_with_parent() -> None:
    """Have this fork killed when the process that made it ends, by whatever end."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def become(
    kind: str, environment: Mapping[str, str], log: Path, alter: Callable[[], None] | None = None
) -> None:
    """Be the daemon, to the end of this process: with this environment, writing to `log`.

    `alter` is called before the daemon's own `main`.
    """
    status = 70
    try:
        os.setsid()
        end_with_parent()
        with log.open("ab") as file, open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), 0)
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = [f"cleave-{kind}"]
        if alter is not None:
            alter()
        status = MAINS[kind]()
    except BaseException:  # what an interpreter would say at its end
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)
