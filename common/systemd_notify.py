"""What a daemon tells the systemd that started it: ready, reloading, stopping, alive (sd_notify(3)).

One datagram of lines `NAME=value` to the socket in `NOTIFY_SOCKET`. Without one (on a terminal, in a test) everything
here does nothing. Whether the daemon is alive is decided elsewhere (`standstill`): here it is only told.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

import structlog

log = structlog.get_logger()

MAX_STATUS_CHARS = 200
"""`systemctl status` shows one line."""


class SystemdNotifier:
    """The way to the service manager; it wants to hear from the daemon every `watchdog_s` (none: it does not)."""

    def __init__(self, address: str = "", watchdog_s: float | None = None) -> None:
        """`address` is a socket's path, or `@name` for an abstract one; empty: nobody listens."""
        self.address = address
        self.watchdog_s = watchdog_s if address else None
        self._status = ""
        self._lost = False

    @classmethod
    def of(cls, environ: Mapping[str, str], pid: int) -> SystemdNotifier:
        """Read what systemd gave the process `pid` in its environment."""
        return cls(environ.get("NOTIFY_SOCKET", ""), watchdog_period_s(environ, pid))

    @property
    def heard(self) -> bool:
        """Whether anybody listens."""
        return bool(self.address)

    def ready(self, status: str = "") -> None:
        """The daemon can do its work; after `reloading`, it has read its files again."""
        self._tell("READY=1", *self._news(status))

    def reloading(self) -> None:
        """The daemon reads its files again; `ready` must follow."""
        # CLOCK_MONOTONIC, which Python's monotonic clock is on Linux.
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The daemon is on its way down."""
        self._tell("STOPPING=1", "STATUS=finishing what is here")

    def status(self, status: str) -> None:
        """Say in one line what the daemon does; what it said last is not repeated."""
        self._tell(*self._news(status))

    def alive(self) -> None:
        """Feed the watchdog. Only for what has found that work goes on."""
        if self.watchdog_s is not None:
            self._tell("WATCHDOG=1")

    def _news(self, status: str) -> tuple[str, ...]:
        line = " ".join(status.split())[:MAX_STATUS_CHARS]
        if line in ("", self._status):
            return ()
        self._status = line
        return (f"STATUS={line}",)

    def _tell(self, *lines: str) -> None:
        if not self.address or not lines:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)  # a manager that does not read must not stop the event loop
                sender.sendto("\n".join(lines).encode(), _as_kernel_knows_it(self.address))
            self._lost = False
        except OSError as error:
            if not self._lost:
                log.warning("systemd cannot be told", what=lines[0], reason=error.strerror)
            self._lost = True


def watchdog_period_s(environ: Mapping[str, str], pid: int) -> float | None:
    """Return within how many seconds systemd wants to hear from process `pid`; none if it does not."""
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    period_us = environ.get("WATCHDOG_USEC", "")
    return int(period_us) / 1e6 if period_us.isdigit() and int(period_us) > 0 else None


def of_this_process() -> SystemdNotifier:
    """Return the way to the manager that started this process. Its variables are systemd's, none of our settings."""
    return SystemdNotifier.of(os.environ, os.getpid())


def _as_kernel_knows_it(address: str) -> str | bytes:
    """Return the address of a socket: `@name` is how an abstract one is written, a zero byte how it begins."""
    return b"\0" + address[1:].encode() if address.startswith("@") else address
