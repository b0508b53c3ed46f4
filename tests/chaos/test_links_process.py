"""Facts about what a soak is made of beside daemons: links that obey, and visitors that come to nothing."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
from pathlib import Path

from tests.chaos.garbage import GarbageVisitors

ROOT = Path(__file__).parent.parent.parent
PROGRAM = """
import socket
from benchmarks.emulated_link import Forward
from benchmarks.pair import free_port
from tests.chaos.links_process import LinksProcess

target = socket.create_server(("127.0.0.1", 0))
port = free_port()
with LinksProcess({"a": [Forward(listen=("127.0.0.1", port), target=target.getsockname())]}) as links:
    near = socket.create_connection(("127.0.0.1", port), 5)
    near.sendall(b"hello")
    far, _ = target.accept()
    print(far.recv(5))
    links.order("a", "reset")
    try:
        print(near.recv(1))
    except ConnectionResetError:
        print("reset")
try:
    socket.create_connection(("127.0.0.1", port), 5)
except ConnectionRefusedError:
    print("gone")
"""


def test_a_process_plays_links_and_obeys() -> None:
    """It ends with whoever gives the orders. In a process of its own, as it forks."""
    said = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert said.stdout == "b'hello'\nreset\ngone\n", said.stderr


def test_garbage_visitors_come_say_something_and_leave_nothing_open() -> None:
    before = len(os.listdir("/proc/self/fd"))
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        visitors = GarbageVisitors(random.Random(2))
        for _ in range(5):
            visitors.visit(server.getsockname()[1])
        heard = set()
        server.settimeout(5.0)
        for _ in range(visitors.visits):
            connection, _ = server.accept()
            with connection:
                connection.setblocking(False)
                try:
                    heard.add(connection.recv(10_000))
                except (BlockingIOError, ConnectionError):
                    heard.add(b"silence")
        visitors.leave()
    assert len(heard) > 4
    assert len(os.listdir("/proc/self/fd")) == before


def test_visitors_find_nobody_and_go_on() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        visitors = GarbageVisitors(random.Random(2))
        visitors.visit(nobody.getsockname()[1])
        assert visitors.visits == 0
