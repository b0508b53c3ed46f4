"""Facts about what systemd is told: the datagrams of sd_notify(3), and nothing where nobody listens."""

from __future__ import annotations

import os
import re
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.systemd_notify import MAX_STATUS_CHARS, SystemdNotifier, watchdog_period_s


class Manager:
    """The socket that systemd would listen on."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.setblocking(False)

    def heard(self) -> list[str]:
        """Every datagram since the last call."""
        found = []
        while True:
            try:
                found.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    if request.param == "abstract" and sys.platform != "linux":
        pytest.skip("abstract sockets are Linux'")
    manager = Manager(str(tmp_path / "notify") if request.param == "path" else f"@cleave-test-{os.getpid()}")
    yield manager
    manager.close()


def notifier(manager: Manager, **environ: str) -> SystemdNotifier:
    return SystemdNotifier.of({"NOTIFY_SOCKET": manager.address, **environ}, 7)


def test_each_word_is_one_datagram(manager: Manager) -> None:
    """Over a socket that has a path, and over an abstract one."""
    told = notifier(manager, WATCHDOG_USEC="30000000")
    told.ready("edge-only; no cloud")
    told.status("after layer2")
    told.alive()
    told.stopping()
    assert manager.heard() == [
        "READY=1\nSTATUS=edge-only; no cloud",
        "STATUS=after layer2",
        "WATCHDOG=1",
        "STOPPING=1\nSTATUS=finishing what is here",
    ]


def test_reloading_carries_the_clock_that_systemd_compares(manager: Manager) -> None:
    """In microseconds of the monotonic clock, taken between the request and the answer."""
    before = time.monotonic_ns() // 1000
    notifier(manager).reloading()
    (said,) = manager.heard()
    found = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)", said)
    assert found
    assert before <= int(found[1]) <= time.monotonic_ns() // 1000


def test_a_status_is_one_line_and_said_once(manager: Manager) -> None:
    """A line break would begin another variable."""
    told = notifier(manager)
    told.status("after a\nREADY=1")
    told.status("after a READY=1")
    told.status("x" * 1000)
    assert manager.heard() == ["STATUS=after a READY=1", "STATUS=" + "x" * MAX_STATUS_CHARS]


def test_the_watchdog_is_fed_only_where_there_is_one(manager: Manager) -> None:
    """Without WATCHDOG_USEC, or with another process's, nothing is said."""
    notifier(manager).alive()
    notifier(manager, WATCHDOG_USEC="1000000", WATCHDOG_PID="8").alive()
    assert manager.heard() == []
    notifier(manager, WATCHDOG_USEC="1000000", WATCHDOG_PID="7").alive()
    assert manager.heard() == ["WATCHDOG=1"]


@pytest.mark.parametrize(
    ("environ", "period"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "often"}, None),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "7"}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "1"}, None),
    ],
)
def test_the_period_is_read_as_sd_watchdog_enabled_does(
    environ: dict[str, str], period: float | None
) -> None:
    """In microseconds, for the process that is named, if one is."""
    assert watchdog_period_s(environ, 7) == period


def test_without_systemd_nothing_happens() -> None:
    """On a terminal there is no socket; the watchdog's variables alone mean nothing."""
    told = SystemdNotifier.of({"WATCHDOG_USEC": "1000000"}, 7)
    assert not told.heard
    assert told.watchdog_s is None
    told.ready("fine")
    told.alive()
    told.stopping()


def test_a_manager_that_is_gone_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It must not end the daemon, nor fill its log."""
    told = SystemdNotifier(str(tmp_path / "nobody"), 30.0)
    told.alive()
    told.alive()
    assert capsys.readouterr().out.count("systemd cannot be told") == 1


def test_a_manager_that_does_not_read_blocks_nobody(manager: Manager) -> None:
    """When its queue is full, what is said is lost, and the event loop goes on."""
    told = notifier(manager, WATCHDOG_USEC="1000000")
    for _ in range(2000):
        told.alive()
    assert 0 < len(manager.heard()) < 2000
