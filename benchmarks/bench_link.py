"""The link that the benchmark's two machines are joined by: shaped by the kernel, or emulated where not root."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from benchmarks.emulated_link import EmulatedLink, Forward, LinkShape
from benchmarks.kernel_link import KernelLink, kernel_link, why_not
from benchmarks.network_namespaces import CLOUD_HOST, EDGE_HOST
from benchmarks.pair import free_port

_EMULATED_HOST, _LOCAL_HOST = "127.0.0.2", "127.0.0.1"
CARRIED_TRIES = 3
_LISTENING_S = 1.0
"""An iperf3 server is listening this long after its start."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports that the cloud's side listens on. Those of an emulated link must be known when it is made."""

    cleave: int
    probes: int
    """The cloud daemon's iperf3 server."""
    iperf: int
    """The benchmark's own."""
    http: int

    @classmethod
    def free(cls) -> Ports:
        return cls(free_port(), free_port(), free_port(), free_port())


class Shaped(Protocol):
    """What can be given another rate."""

    def set_rate(self, rate_bps: float) -> None: ...


@dataclass(frozen=True, slots=True)
class BenchLink:
    """A link with a machine at each end: where each runs, where the cloud listens, where the edge finds it."""

    kind: str
    shaped: Shaped
    ports: Ports
    listen_host: str
    cloud_host: str
    edge_prefix: tuple[str, ...]
    cloud_prefix: tuple[str, ...]

    def set_rate(self, rate_bps: float) -> None:
        self.shaped.set_rate(rate_bps)


def core_prefixes(cores: Sequence[int]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the commands that pin the edge to the first core and the cloud to the second, where there are two."""
    if len(cores) < 2:
        return (), ()
    edge, cloud, *_ = sorted(cores)
    return ("taskset", "-c", str(edge)), ("taskset", "-c", str(cloud))


@contextlib.asynccontextmanager
async def bench_link(rate_bps: float, cores: Sequence[int]) -> AsyncIterator[BenchLink]:
    """Make the best link that can be had here, its machines pinned to `cores`; on leaving it is gone."""
    on_edge, on_cloud = core_prefixes(cores)
    ports = Ports.free()
    if reason := why_not():
        forwards = [
            Forward(listen=(_EMULATED_HOST, port), target=(_LOCAL_HOST, port))
            for port in (ports.cleave, ports.probes, ports.iperf, ports.http)
        ]
        async with EmulatedLink(forwards, LinkShape(rate_bps=rate_bps)) as emulated:
            text = f"emulated by a proxy ({reason})"
            yield BenchLink(text, emulated, ports, _LOCAL_HOST, _EMULATED_HOST, on_edge, on_cloud)
        return
    with kernel_link(rate_bps) as kernel:
        yield _shaped_by_kernel(kernel, ports, on_edge, on_cloud)


def _shaped_by_kernel(
    kernel: KernelLink, ports: Ports, on_edge: tuple[str, ...], on_cloud: tuple[str, ...]
) -> BenchLink:
    return BenchLink(
        "shaped by the kernel (tbf)",
        kernel,
        ports,
        CLOUD_HOST,
        CLOUD_HOST,
        (*kernel.edge_prefix, *on_edge),
        (*kernel.cloud_prefix, *on_cloud),
    )


async def carried_bps(link: BenchLink) -> float:
    """Measure the link with iperf3, from edge to cloud, twice; return bit/s as the server received them.

    The more of two: a stream that loses its beginning in the link's queue tells of 4.8 Mbit/s where there are 7.7,
    and none tells of too much. Raises `RuntimeError` when there are no two results in `CARRIED_TRIES` attempts.
    """
    said, found = "", list[float]()
    for _ in range(CARRIED_TRIES):
        out = await _iperf_once(link)
        try:
            found.append(float(json.loads(out.splitlines()[-1])["bps"]))
        except (ValueError, KeyError, IndexError):
            said = out.decode(errors="replace")[-300:]
        if len(found) == 2:
            return max(found)
    raise RuntimeError(f"iperf3 did not measure twice: {said or 'it said nothing'}")


async def _iperf_once(link: BenchLink) -> bytes:
    port, parent = str(link.ports.iperf), str(os.getpid())
    pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    peer = (
        EDGE_HOST if link.listen_host == CLOUD_HOST else link.listen_host
    )  # an emulated link is on this machine
    server = await asyncio.create_subprocess_exec(
        *link.cloud_prefix, sys.executable, "-m", "cloud_daemon.iperf_child", link.listen_host, port, parent, peer,
        stdout=nothing, stderr=nothing,
    )  # fmt: skip
    try:
        await asyncio.sleep(_LISTENING_S)
        client = await asyncio.create_subprocess_exec(
            *link.edge_prefix, sys.executable, "-m", "edge_daemon.iperf_child",
            link.cloud_host, port, "1", parent, stdout=pipe, stderr=nothing,
        )  # fmt: skip
        out, _ = await client.communicate()
        return out
    finally:
        if server.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                server.kill()
        await server.wait()
