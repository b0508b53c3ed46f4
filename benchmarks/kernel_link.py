"""A link shaped by the kernel: two network namespaces joined by a veth pair with a token bucket at each end.

Needs root and iproute2. The kernel's TCP sees this link as a real one (queueing, acknowledgements), where the
emulated link ends TCP in a proxy. No delay but the queue's: delaying takes netem, which not every kernel has
(`tun_link` delays in any). Traffic stays inside the two namespaces.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks import network_namespaces
from benchmarks.network_namespaces import (
    CLOUD_HOST,
    EDGE_HOST,
    QUEUE_MS,
    NamespaceLink,
    bring_up,
    run_command,
    two_namespaces,
)

LEAST_BURST_BYTES = 1600
"""An Ethernet frame: what is longer than the bucket cannot pass."""
MOST_BURST_BYTES = 16 * 1024
BURST_MS = 1.3
"""Of the rate, in the bucket: below it tbf cannot reach its rate on a kernel with a timer of 1 kHz. More would be a
present of the bucket, that no real link makes: 16 KB are 131 ms at 1 Mbit/s, and small messages came for nothing."""


def why_not() -> str | None:
    """Return why there can be no kernel-shaped link here; none if there can."""
    return network_namespaces.why_not("tc")


@dataclass(frozen=True, slots=True)
class KernelLink(NamespaceLink):
    """Two namespaces and the interfaces in them. Make one with `kernel_link`."""

    def set_rate(self, rate_bps: float) -> None:
        """Shape both directions to `rate_bps` bit/s, Ethernet's headers included."""
        burst = self.burst_bytes(rate_bps)
        shape = f"tbf rate {rate_bps:.0f}bit burst {burst} latency {QUEUE_MS}ms".split()
        ends = ((self.edge_namespace, self.edge_device), (self.cloud_namespace, self.cloud_device))
        for namespace, device in ends:
            run_command("tc", "-n", namespace, "qdisc", "replace", "dev", device, "root", *shape)

    def burst_bytes(self, rate_bps: float) -> int:
        """Return what the bucket holds at a rate."""
        return round(min(max(rate_bps * BURST_MS / 8e3, LEAST_BURST_BYTES), MOST_BURST_BYTES))


@contextlib.contextmanager
def kernel_link(rate_bps: float) -> Iterator[KernelLink]:
    """Make the namespaces and the link; on leaving they are gone. Raises `RuntimeError` where that cannot be."""
    if reason := why_not():
        raise RuntimeError(f"no kernel-shaped link: {reason}")
    mark = os.getpid()
    with two_namespaces() as (edge, cloud):
        link = KernelLink(edge, cloud, f"cle{mark}", f"clc{mark}", delay_ms=0.0)
        run_command(
            *("ip", "link", "add", link.edge_device, "netns", edge, "type", "veth"),
            *("peer", "name", link.cloud_device, "netns", cloud),
        )
        bring_up(edge, link.edge_device, EDGE_HOST)
        bring_up(cloud, link.cloud_device, CLOUD_HOST)
        link.set_rate(rate_bps)
        yield link
