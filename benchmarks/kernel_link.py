"""A link shaped by the kernel: two network namespaces joined by a veth pair with a token bucket at each end.

Needs root and iproute2. The kernel's TCP sees this link as a real one (queueing, acknowledgements, no delay but
the queue's), where the emulated link ends TCP in a proxy. Traffic stays inside the two namespaces.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

EDGE_HOST, CLOUD_HOST = "10.77.0.1", "10.77.0.2"
QUEUE_MS = 50
"""How long the bucket's queue may hold a byte: a home router's, without bufferbloat."""
BURST_BYTES = 16 * 1024
"""Of the bucket: below it tbf cannot reach its rate on a kernel with a timer of 1 kHz at 100 Mbit/s."""


def why_not() -> str | None:
    """Return why there can be no kernel-shaped link here; none if there can."""
    if os.geteuid() != 0:
        return "it needs root"
    missing = [tool for tool in ("ip", "tc") if shutil.which(tool) is None]
    if missing:
        return f"{' and '.join(missing)} missing (apt-get install iproute2)"
    allowed = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode == 0
    return None if allowed else "the kernel allows no network namespaces (a container without that right?)"


@dataclass(frozen=True, slots=True)
class KernelLink:
    """Two namespaces and the interfaces in them. Make one with `kernel_link`."""

    edge_namespace: str
    cloud_namespace: str
    edge_device: str
    cloud_device: str

    @property
    def edge_prefix(self) -> tuple[str, ...]:
        """The command that runs another one on the edge's side."""
        return ("ip", "netns", "exec", self.edge_namespace)

    @property
    def cloud_prefix(self) -> tuple[str, ...]:
        return ("ip", "netns", "exec", self.cloud_namespace)

    def set_rate(self, rate_bps: float) -> None:
        """Shape both directions to `rate_bps` bit/s."""
        shape = f"tbf rate {rate_bps:.0f}bit burst {BURST_BYTES} latency {QUEUE_MS}ms".split()
        ends = ((self.edge_namespace, self.edge_device), (self.cloud_namespace, self.cloud_device))
        for namespace, device in ends:
            _run("tc", "-n", namespace, "qdisc", "replace", "dev", device, "root", *shape)


@contextlib.contextmanager
def kernel_link(rate_bps: float) -> Iterator[KernelLink]:
    """Make the namespaces and the link; on leaving they are gone. Raises `RuntimeError` where that cannot be."""
    if reason := why_not():
        raise RuntimeError(f"no kernel-shaped link: {reason}")
    mark = os.getpid()
    link = KernelLink(f"cleave-e{mark}", f"cleave-c{mark}", f"cle{mark}", f"clc{mark}")
    names = (link.edge_namespace, link.cloud_namespace)
    try:
        for namespace in names:
            _run("ip", "netns", "add", namespace)
            _run("ip", "-n", namespace, "link", "set", "lo", "up")
        _run(
            *("ip", "link", "add", link.edge_device, "netns", names[0], "type", "veth"),
            *("peer", "name", link.cloud_device, "netns", names[1]),
        )
        for namespace, device, host in (
            (names[0], link.edge_device, EDGE_HOST),
            (names[1], link.cloud_device, CLOUD_HOST),
        ):
            _run("ip", "-n", namespace, "address", "add", f"{host}/24", "dev", device)
            _run("ip", "-n", namespace, "link", "set", device, "up")
        link.set_rate(rate_bps)
        yield link
    finally:
        for namespace in names:
            subprocess.run(["ip", "netns", "delete", namespace], capture_output=True, check=False)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
