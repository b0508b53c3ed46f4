"""What real daemons tell the manager that starts them, and what they print when it ends them."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cloud_daemon.edge import free_port
from tests.tiny_model import jpeg

ROOT = Path(__file__).parent.parent.parent
WAIT_S = 60.0


class Manager:
    """Starts a daemon as systemd would, and hears what it says."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(home / "notify"))
        self._socket.settimeout(WAIT_S)
        self.daemon: subprocess.Popen[str] | None = None

    def start(self, module: str, **settings: object) -> subprocess.Popen[str]:
        environment = {
            "PATH": os.environ["PATH"],
            "NOTIFY_SOCKET": str(self.home / "notify"),
            "WATCHDOG_USEC": "400000",
            "CLEAVE_MODEL": "tests.tiny_model:factory",
            "CLEAVE_WEIGHTS": "random:0",
            **{name: str(value) for name, value in settings.items()},
        }
        self.daemon = subprocess.Popen(
            [sys.executable, "-m", module],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        return self.daemon

    def hear(self, word: str) -> str:
        """Wait for a datagram with `word` in it."""
        while word not in (said := self._socket.recv(4096).decode()):
            pass
        return said

    def stop(self) -> None:
        self._socket.close()
        if self.daemon is not None and self.daemon.poll() is None:
            self.daemon.kill()
            self.daemon.communicate()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path)
    yield manager
    manager.stop()


def cloud(manager: Manager) -> subprocess.Popen[str]:
    return manager.start(
        "cloud_daemon",
        CLEAVE_CLOUD_LISTEN=f"127.0.0.1:{free_port()}",
        CLEAVE_CLOUD_STATE_DIR=manager.home / "state",
        CLEAVE_CLOUD_EXECUTOR="torch",
    )


def edge(manager: Manager) -> subprocess.Popen[str]:
    (manager.home / "frames").mkdir()
    (manager.home / "frames" / "first.jpg").write_bytes(jpeg())
    return manager.start(
        "edge_daemon",
        CLEAVE_EDGE_SOURCE=manager.home / "frames",
        CLEAVE_EDGE_RESULTS=manager.home / "results.jsonl",
        CLEAVE_EDGE_STATE_DIR=manager.home / "state",
        CLEAVE_EDGE_EXECUTOR="torch",
        CLEAVE_EDGE_CLOUD=f"127.0.0.1:{free_port()}",
    )


def test_a_cloud_says_when_it_is_ready_alive_reloading_and_stopping(manager: Manager) -> None:
    """In this order; between the words it is alive as long as it works."""
    daemon = cloud(manager)
    manager.hear("READY=1")
    assert manager.hear("STATUS=") == "STATUS=tests.tiny_model:factory; 0 edges connected; 0 frames run"
    for _ in range(3):
        assert manager.hear("WATCHDOG=1") == "WATCHDOG=1"
    daemon.send_signal(signal.SIGHUP)
    assert "MONOTONIC_USEC=" in manager.hear("RELOADING=1")
    manager.hear("READY=1")
    daemon.send_signal(signal.SIGTERM)
    manager.hear("STOPPING=1")
    _, log = daemon.communicate(timeout=WAIT_S)
    assert daemon.returncode == 0
    assert log.index("model ready") < log.index("listening for edges")


def test_an_edge_says_so_too_and_counts_its_frames(manager: Manager) -> None:
    """Idle as well as at work: the looks of its source are its progress; SIGHUP without certificates is no end."""
    daemon = edge(manager)
    manager.hear("READY=1")
    assert manager.hear("1 frames answered").startswith("STATUS=edge-only; no cloud; 1 frames answered")
    for _ in range(8):  # two seconds of watchdog without a frame
        manager.hear("WATCHDOG=1")
    daemon.send_signal(signal.SIGHUP)
    manager.hear("RELOADING=1")
    manager.hear("READY=1")
    daemon.send_signal(signal.SIGTERM)
    manager.hear("STOPPING=1")
    daemon.communicate(timeout=WAIT_S)
    assert daemon.returncode == 0


@pytest.mark.parametrize("start", [cloud, edge])
def test_no_part_of_a_daemons_memory_is_marked_for_huge_pages(
    manager: Manager, start: Callable[[Manager], subprocess.Popen[str]]
) -> None:
    """Numpy was told before it came, and nothing else makes such marks: resident memory stays what is used."""
    daemon = start(manager)
    manager.hear("READY=1")
    mappings = Path(f"/proc/{daemon.pid}/smaps").read_text()
    assert "numpy" in mappings
    assert not re.search(r"^VmFlags:.*\bhg\b", mappings, re.MULTILINE)


def test_what_the_watchdog_ends_says_where_it_stood(manager: Manager) -> None:
    """SIGABRT, as systemd sends it: the stacks of all threads are in the journal."""
    daemon = cloud(manager)
    manager.hear("READY=1")
    daemon.send_signal(signal.SIGABRT)
    _, log = daemon.communicate(timeout=WAIT_S)
    assert daemon.returncode == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in log
    assert "compute.py" in log
