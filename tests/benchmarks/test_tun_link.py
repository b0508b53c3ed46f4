"""The packet link between two namespaces, where there can be one."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from typing import Any

import psutil
import pytest

from benchmarks.network_namespaces import CLOUD_HOST
from benchmarks.tun_link import TunLink, tun_link, why_not

pytestmark = pytest.mark.alone

WHY_NOT = why_not()
needs_devices = pytest.mark.skipif(WHY_NOT is not None, reason=f"no link by TUN devices here: {WHY_NOT}")

N_BYTES = 60_000
SINK = f"""
import socket
server = socket.create_server(("{CLOUD_HOST}", 7000))
print("listening", flush=True)
connection, _ = server.accept()
left = {N_BYTES}
while left:
    left -= len(connection.recv(65536))
connection.sendall(b"all")
"""
SOURCE = f"""
import json, socket, time
began = time.perf_counter()
connection = socket.create_connection(("{CLOUD_HOST}", 7000), timeout=60)
connected = time.perf_counter()
connection.sendall(bytes({N_BYTES}))
answer = connection.recv(16).decode()
print(json.dumps(dict(answer=answer, connect_s=connected - began, send_s=time.perf_counter() - connected)))
"""


def send_over(link: TunLink) -> dict[str, Any]:
    """Send bytes over a TCP connection; return the answer and how long connecting and sending took."""
    with subprocess.Popen(
        [*link.cloud_prefix, sys.executable, "-c", SINK], stdout=subprocess.PIPE, text=True
    ) as sink:
        assert sink.stdout is not None
        sink.stdout.readline()
        source = [*link.edge_prefix, sys.executable, "-c", SOURCE]
        found: dict[str, Any] = json.loads(
            subprocess.run(source, capture_output=True, text=True, check=True).stdout
        )
    return found


@needs_devices
def test_tcp_crosses_no_faster_than_rate_and_delay_allow() -> None:
    """Connecting takes a round trip of twice the delay at least; bytes take their time at the rate, and that."""
    with tun_link(2e6, 30) as link:
        found = send_over(link)
        assert found["answer"] == "all"
        assert found["connect_s"] >= 2 * 0.030
        assert found["send_s"] >= 2 * 0.030 + N_BYTES * 8 / 2e6
        link.set_rate(1e6)
        assert send_over(link)["send_s"] >= 2 * 0.030 + N_BYTES * 8 / 1e6


@needs_devices
def test_the_link_is_the_only_way_to_the_other_host() -> None:
    """The edge's namespace has no other device with an address: what connects crossed the link."""
    with tun_link(1e6, 0) as link:
        shown = subprocess.run(
            ["ip", "-n", link.edge_namespace, "-json", "-4", "address"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert {device["ifname"] for device in json.loads(shown)} == {"lo", link.edge_device}


@needs_devices
def test_nothing_is_left_behind() -> None:
    """On leaving, also by an error, the namespaces, the devices and the forwarder are gone."""

    with contextlib.suppress(KeyError), tun_link(1e6, 1) as link:
        assert psutil.pid_exists(link.forwarder.pid)
        raise KeyError
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert link.edge_namespace not in listed
    assert link.cloud_namespace not in listed
    devices = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    assert link.edge_device not in devices
    assert link.forwarder.returncode == 0


@needs_devices
def test_two_links_stand_side_by_side() -> None:
    """Namespaces have names of their own, so that one process may make several links."""
    with tun_link(1e6, 0) as one, tun_link(1e6, 0) as other:
        assert one.edge_namespace != other.edge_namespace
        assert send_over(other)["answer"] == "all"


@needs_devices
def test_a_rate_that_no_link_has_is_refused_and_changes_nothing() -> None:
    """The forwarder goes on as before."""
    with tun_link(50e6, 0) as link:
        with pytest.raises(ValueError, match="rate_bps is a positive number"):
            link.set_rate(0)
        assert send_over(link)["answer"] == "all"


@needs_devices
def test_a_forwarder_that_is_gone_is_reported() -> None:
    """Nobody measures on a link that carries nothing."""
    with tun_link(1e6, 0) as link:
        link.forwarder.kill()
        with pytest.raises(RuntimeError, match="forwarder ended with status -9"):
            link.set_rate(2e6)


@pytest.mark.parametrize(("rate_bps", "delay_ms"), [(0, 5), (1e6, -5)])
def test_numbers_that_no_link_has_are_refused_before_anything_is_made(
    rate_bps: float, delay_ms: float
) -> None:
    """Also where there can be no link."""
    with pytest.raises(ValueError, match=r"not -?[05]"), tun_link(rate_bps, delay_ms):
        pass
