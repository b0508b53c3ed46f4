"""An emulated link below TCP, with a delay: two network namespaces, a TUN device in each, a process between them.

    edge's namespace                  benchmarks.tun_forwarder                   cloud's namespace
    TCP ─ device ──────►  queue ─► rate ─► delay   (and the same way back)  ──────► device ─ TCP

Needs root, iproute2 and /dev/net/tun. It forwards IP packets, so that whatever runs in the namespaces sees one
delayed link, with connections of its own choosing (`emulated_link` forwards connections, and must know each). It
delays on kernels without netem. The bottleneck lies behind the sending host, as a router's does: when its queue is
full, packets are lost; on `kernel_link` the sender's own TCP knows what waits, and holds back.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import network_namespaces
from benchmarks.network_namespaces import (
    CLOUD_HOST,
    EDGE_HOST,
    NamespaceLink,
    bring_up,
    run_command,
    two_namespaces,
)
from benchmarks.tun_wire import WireShape

TUN = Path("/dev/net/tun")
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
"""From linux/if_tun.h: make the device; of IP packets; without a header of its own before each."""
MTU_BYTES = 1500
"""Ethernet's, as on `kernel_link`. Python would keep up with more if packets were larger, but TCP begins with ten of
them, so that their size decides how a delay is felt; and one of 9000 bytes takes 72 ms at 1 Mbit/s, longer than the
queue. The 12,000 packets and acknowledgements a second of 100 Mbit/s cost the forwarder about a quarter of a core."""


def why_not() -> str | None:
    """Return why there can be no link by TUN devices here; none if there can."""
    if reason := network_namespaces.why_not():
        return reason
    try:
        os.close(_open_tun("clprobe%d"))
    except OSError as error:
        return f"{TUN}: {error.strerror}"
    return None


@dataclass(frozen=True, slots=True)
class TunLink(NamespaceLink):
    """Two namespaces and the forwarder between them. Make one with `tun_link`."""

    forwarder: subprocess.Popen[str] = field(repr=False)

    def set_rate(self, rate_bps: float) -> None:
        """Shape both directions to `rate_bps` bit/s, packets counted with their IP headers.

        Raises ValueError for a rate that is not positive, `RuntimeError` if the forwarder is gone.
        """
        WireShape(rate_bps=rate_bps, delay_ms=self.delay_ms)  # refuse here what would end the forwarder
        assert self.forwarder.stdin is not None
        assert self.forwarder.stdout is not None
        order = f"{rate_bps!r} {self.delay_ms!r}\n"
        with contextlib.suppress(BrokenPipeError):
            self.forwarder.stdin.write(order)
            self.forwarder.stdin.flush()
        if self.forwarder.stdout.readline() != order:
            raise RuntimeError(f"the link's forwarder ended with status {self.forwarder.wait()}")


@contextlib.contextmanager
def tun_link(rate_bps: float, delay_ms: float) -> Iterator[TunLink]:
    """Make the namespaces and the link; on leaving they are gone.

    rate_bps: bits per second; delay_ms: one way; both the same in the two directions.
    Raises `RuntimeError` where it cannot be made, ValueError for numbers that no link has.
    """
    WireShape(rate_bps=rate_bps, delay_ms=delay_ms)  # refuse numbers before anything is made
    if reason := why_not():
        raise RuntimeError(f"no link by TUN devices: {reason}")
    mark = os.getpid()
    devices = (f"cte{mark}", f"ctc{mark}")
    with two_namespaces() as (edge, cloud):
        with contextlib.ExitStack() as opened:
            ends: list[int] = []
            for namespace, device, host in zip((edge, cloud), devices, (EDGE_HOST, CLOUD_HOST), strict=True):
                ends.append(_open_tun(device))
                opened.callback(os.close, ends[-1])
                _move(device, namespace)
                bring_up(namespace, device, host)
            forwarder = _start_forwarder(*ends)  # which has its own copies of them
        with forwarder:  # leaving ends its input, which ends it, and waits for it
            link = TunLink(edge, cloud, *devices, delay_ms=float(delay_ms), forwarder=forwarder)
            link.set_rate(rate_bps)
            yield link


def _open_tun(name: str) -> int:
    """Make a TUN device in the present namespace; it is gone when its last descriptor is closed."""
    end = os.open(TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(end, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    except OSError:
        os.close(end)
        raise
    return end


def _move(device: str, namespace: str) -> None:
    """Move a device to its namespace (its descriptor stays valid), and keep IPv6's solicitations off the link."""
    run_command("ip", "link", "set", device, "netns", namespace)
    run_command("ip", "-n", namespace, "link", "set", device, "mtu", str(MTU_BYTES), "addrgenmode", "none")


def _start_forwarder(edge: int, cloud: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.tun_forwarder", str(edge), str(cloud), str(os.getpid())],
        pass_fds=(edge, cloud),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for whoever made the link, which ends it when nobody uses it any more
    )
