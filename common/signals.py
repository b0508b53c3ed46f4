"""Signals: SIGINT and SIGTERM as an event, SIGHUP as a call."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable


def leave_at_once_on_signals() -> None:
    """Let SIGINT and SIGTERM end the process at once, with status 0: for the time before it holds anything.

    Loading a model takes seconds, in other people's code, on another thread: nothing there can be waited for.
    """
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
    """Have SIGHUP call `reload` on the running loop, instead of ending the process."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)
