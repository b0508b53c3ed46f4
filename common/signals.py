"""Signals: SIGINT and SIGTERM as an event, SIGHUP as a call."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable


def leave_at_once_on_signals() -> None:
    """Let SIGINT and SIGTERM end the process at once, with status 0: for the time before it holds anything.

    Loading a model takes seconds, in other people's code, on another thread: nothing there can be waited for.
    SIGHUP is ignored meanwhile, as what it would have read again is about to be read; not on a terminal, whose
    end it tells.
    """
    if not _on_terminal():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))


def stop_event() -> asyncio.Event:
    """Return an event that the first SIGINT or SIGTERM sets, on the running loop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop


def on_hangup(reload: Callable[[], None]) -> None:
    """Have SIGHUP call `reload` on the running loop; on a terminal it still ends the process, as a terminal's end."""
    if not _on_terminal():
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)


def _on_terminal() -> bool:
    return sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()
