"""Measure the bandwidth upwards with iperf3, in a child process with a hard timeout."""

from __future__ import annotations

import asyncio
import json
import math
import os

from common import limits
from common.child_process import running_child
from common.errors import ProbeError


async def measure_bandwidth(host: str, port: int, timeout_s: float = limits.PROBE_TIMEOUT_S) -> float:
    """Run one iperf3 test against a server that is listening; return bit/s as the server received them.

    Raises `ProbeError` when iperf3 is missing or cannot be started, the server is busy or gone, or the test hangs.
    """
    job = (host, str(port), str(limits.PROBE_DURATION_S), str(os.getpid()))
    try:
        async with running_child("edge_daemon.iperf_child", *job) as child, asyncio.timeout(timeout_s):
            out, err = await child.communicate()
    except TimeoutError:
        raise ProbeError(f"iperf3 gave no result within {timeout_s:g} s") from None
    except OSError as error:  # no memory, too many processes or open files
        raise ProbeError(f"iperf3 cannot be started: {error}") from error
    return parse_result(out, err)


def parse_result(out: bytes, err: bytes) -> float:
    """Read the child's result. Raises `ProbeError` for an error and for anything that is no result."""
    try:
        result = dict(json.loads(out.splitlines()[-1]))
    except (ValueError, TypeError, IndexError):
        said = err.decode(errors="replace").strip().splitlines()
        raise ProbeError(
            f"iperf3 ended without a result: {said[-1][:200] if said else 'it said nothing'}"
        ) from None
    if "error" in result:
        raise ProbeError(f"iperf3: {result['error']}")
    bps = result.get("bps")
    if not isinstance(bps, float) or not math.isfinite(bps) or bps <= 0:
        raise ProbeError(f"iperf3 measured {bps!r} bit/s")
    return bps
