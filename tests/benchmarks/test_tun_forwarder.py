"""Facts about the process between two devices; sockets that keep packets whole stand in for the devices."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

pytestmark = pytest.mark.alone


@contextlib.contextmanager
def forwarder() -> Iterator[tuple[subprocess.Popen[str], socket.socket, socket.socket]]:
    """Run the forwarder between two pairs of sockets; give it, and the hosts' ends of these."""
    with contextlib.ExitStack() as stack:
        hosts, ends = [], []
        for _ in range(2):
            host, end = (stack.enter_context(s) for s in socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))
            host.settimeout(20)
            end.setblocking(False)
            hosts.append(host)
            ends.append(end.fileno())
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.tun_forwarder", *map(str, ends), str(os.getpid())],
            pass_fds=ends,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with process:
            yield process, hosts[0], hosts[1]


def order(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(text)
    process.stdin.flush()
    return process.stdout.readline()


def test_packets_cross_both_ways_whole_and_no_sooner_than_the_delay() -> None:
    """What one host sends the other gets, as it was, at least the delay and its own sending later."""
    with forwarder() as (process, edge, cloud):
        assert order(process, "1e6 30\n") == "1e6 30\n"
        for source, target in ((edge, cloud), (cloud, edge)):
            began = time.perf_counter()
            source.send(bytes(1250))
            source.send(b"second")
            assert target.recv(2048) == bytes(1250)
            assert time.perf_counter() - began >= 0.040
            assert target.recv(2048) == b"second"


def test_orders_are_obeyed_while_it_runs() -> None:
    """A new delay holds for the next packet."""
    with forwarder() as (process, edge, cloud):
        order(process, "1e6 0\n")
        edge.send(b"packet")
        cloud.recv(2048)
        assert order(process, "1e6 200\n") == "1e6 200\n"
        began = time.perf_counter()
        edge.send(b"packet")
        cloud.recv(2048)
        assert time.perf_counter() - began >= 0.200


def test_the_end_of_the_orders_ends_it() -> None:
    """Whoever made the link need only let go of it, packets on the way or not."""
    with forwarder() as (process, edge, _):
        order(process, "1e6 60000\n")
        edge.send(b"never lands")
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(20) == 0


def test_a_host_that_takes_nothing_loses_its_packets_and_no_others() -> None:
    """A device that is gone stops neither the process nor the other direction."""
    with forwarder() as (process, edge, cloud):
        order(process, "1e6 100\n")
        edge.send(b"for nobody")
        cloud.shutdown(socket.SHUT_RD)
        cloud.send(b"still heard")
        assert edge.recv(2048) == b"still heard"
        assert process.poll() is None


@pytest.mark.parametrize("text", ["nonsense\n", "0 5\n", "1e6\n"])
def test_an_order_that_makes_no_sense_is_not_answered(text: str) -> None:
    """It ends the process rather than forward at some other rate; who ordered reads the end instead of an answer."""
    with forwarder() as (process, _, _):
        assert order(process, text) == ""
        assert process.wait(20) != 0
