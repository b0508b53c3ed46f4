"""Ports that a daemon listens on: free, its own already, or somebody else's."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from dataclasses import dataclass

import psutil

from common.config import Address
from common.doctor.finding import Finding, fail, ok


@dataclass(frozen=True, slots=True)
class PortFacts:
    """What came of trying to listen at `address`, which `setting` names: the error's number, 0 if none.

    `holder` is who listens there, as `name (pid)`; `ours`: that is the service itself.
    """

    setting: str
    address: Address
    error: int
    holder: str | None = None
    ours: bool = False


def look_at_port(setting: str, address: Address, service_pid: int) -> PortFacts:
    """Try to listen, for a moment."""
    try:
        family, *_, place = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
    except OSError:
        return PortFacts(setting, address, errno.EADDRNOTAVAIL)
    try:
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(place)
            listener.listen()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            return PortFacts(setting, address, error.errno or errno.EIO)
        name, pid = _holder(address.port)
        return PortFacts(setting, address, errno.EADDRINUSE, name, pid is not None and pid == service_pid)
    return PortFacts(setting, address, 0)


def check_port(what: str, facts: PortFacts) -> Finding:
    """Judge a port."""
    said = f"{facts.setting}: {facts.address}"
    if facts.error == 0:
        return ok(what, f"{facts.address} is free")
    if facts.ours:
        return ok(what, f"{facts.address}, held by the running service")
    if facts.error == errno.EADDRINUSE:
        return fail(
            what,
            f"{said} is in use by {facts.holder or 'another program (as root its name can be told)'}",
            f"end that program, or set {facts.setting} to another port (and who connects there to the same)",
        )
    if facts.error == errno.EADDRNOTAVAIL:
        return fail(
            what,
            f"{said}: this machine has no such address",
            "take 0.0.0.0 (all of its addresses), or one that `ip address` shows",
        )
    if facts.error == errno.EACCES:
        return fail(what, f"{said}: a port below 1024 is root's", "take a port from 1024 on, such as 7400")
    return fail(what, f"{said}: {os.strerror(facts.error)}", "take another address or port")


def _holder(port: int) -> tuple[str | None, int | None]:
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port:
                if connection.pid is None:
                    return None, None
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})", connection.pid
    return None, None
