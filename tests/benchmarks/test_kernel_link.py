"""The kernel-shaped link, where there can be one."""

from __future__ import annotations

import subprocess

import pytest

from benchmarks.kernel_link import KernelLink, kernel_link, why_not
from benchmarks.network_namespaces import CLOUD_HOST

pytestmark = pytest.mark.alone

WHY_NOT = why_not()


@pytest.mark.parametrize(
    ("rate_bps", "burst_bytes"), [(1e6, 1600), (20e6, 3250), (100e6, 16_250), (500e6, 16_384)]
)
def test_a_bucket_holds_a_millisecond_or_so_of_its_rate(rate_bps: float, burst_bytes: int) -> None:
    """A packet at least; and not so much that what is small comes for nothing on a slow link."""
    link = KernelLink("e", "c", "de", "dc", delay_ms=0.0)
    assert link.burst_bytes(rate_bps) == burst_bytes


@pytest.mark.skipif(WHY_NOT is not None, reason=f"no kernel-shaped link here: {WHY_NOT}")
def test_two_hosts_are_joined_at_the_rate_that_was_asked_for() -> None:
    """A packet gets from one namespace to the other, both ends are shaped, and nothing is left behind."""
    with kernel_link(20e6) as link:
        ping = [*link.edge_prefix, "python3", "-c", LISTEN_AND_CONNECT]
        assert subprocess.run(ping, capture_output=True, text=True, check=True).stdout.strip() == "refused"
        link.set_rate(5e6)
        for namespace in (link.edge_namespace, link.cloud_namespace):
            shown = subprocess.run(
                ["tc", "-n", namespace, "qdisc"], capture_output=True, text=True, check=True
            )
            assert "tbf" in shown.stdout
            assert "rate 5Mbit" in shown.stdout
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert link.edge_namespace not in listed


LISTEN_AND_CONNECT = f"""
import socket
try:
    socket.create_connection(({CLOUD_HOST!r}, 9), timeout=20)
except ConnectionRefusedError:
    print("refused")  # the other host answered: nobody listens on that port
"""
