"""Two hosts on one machine: a pair of network namespaces, and what every link between them offers.

    namespace of the edge  10.77.0.1 ══ device ══ a link ══ device ══ 10.77.0.2  namespace of the cloud

Needs root and iproute2. Whatever runs in the namespaces sees no other way to the other host than the link.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

EDGE_HOST, CLOUD_HOST = "10.77.0.1", "10.77.0.2"
QUEUE_MS = 50
"""How long a link's queue may hold a byte: a home router's, without bufferbloat."""

_made = itertools.count()


def why_not(*tools: str) -> str | None:
    """Return why there can be no pair of namespaces here, or not with these commands; none if there can."""
    if os.geteuid() != 0:
        return "it needs root"
    missing = [tool for tool in ("ip", *tools) if shutil.which(tool) is None]
    if missing:
        return f"{' and '.join(missing)} missing (apt-get install iproute2)"
    allowed = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode == 0
    return None if allowed else "the kernel allows no network namespaces (a container without that right?)"


@dataclass(frozen=True, slots=True)
class NamespaceLink(ABC):
    """Two namespaces, the interfaces in them, and the link between these.

    delay_ms: one way, beside what the queue and sending take.
    """

    edge_namespace: str
    cloud_namespace: str
    edge_device: str
    cloud_device: str
    delay_ms: float

    @property
    def edge_prefix(self) -> tuple[str, ...]:
        """The command that runs another one on the edge's side."""
        return ("ip", "netns", "exec", self.edge_namespace)

    @property
    def cloud_prefix(self) -> tuple[str, ...]:
        return ("ip", "netns", "exec", self.cloud_namespace)

    @abstractmethod
    def set_rate(self, rate_bps: float) -> None:
        """Shape both directions to `rate_bps` bit/s, packets counted with their headers."""

    def burst_bytes(self, rate_bps: float) -> int:
        """Return how much may pass ahead of the rate."""
        return 0


@contextlib.contextmanager
def two_namespaces() -> Iterator[tuple[str, str]]:
    """Make the edge's and the cloud's namespace, with loopback; on leaving they are gone, with their devices.

    Raises `RuntimeError` where they cannot be made.
    """
    mark = f"{os.getpid()}-{next(_made)}"
    names = (f"cleave-e{mark}", f"cleave-c{mark}")
    try:
        for namespace in names:
            run_command("ip", "netns", "add", namespace)
            run_command("ip", "-n", namespace, "link", "set", "lo", "up")
        yield names
    finally:
        for namespace in names:
            subprocess.run(["ip", "netns", "delete", namespace], capture_output=True, check=False)


def bring_up(namespace: str, device: str, host: str) -> None:
    """Give a namespace's device the host's address. Raises `RuntimeError` where that cannot be."""
    run_command("ip", "-n", namespace, "address", "add", f"{host}/24", "dev", device)
    run_command("ip", "-n", namespace, "link", "set", device, "up")


def run_command(*command: str) -> None:
    """Run a command to its end. Raises `RuntimeError` with what it said where it failed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
