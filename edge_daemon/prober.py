"""When to measure the bandwidth, and how: iperf3 in the cloud's turn, or a long ping where that fails."""

from __future__ import annotations

import time

import structlog

from common import limits
from common.config import Address
from common.errors import ProbeError
from common.quantities import format_bandwidth
from edge_daemon.iperf import measure_bandwidth
from edge_daemon.link_estimate import BandwidthSample, LinkEstimate
from edge_daemon.uplink import Uplink

log = structlog.get_logger()


LEAST_PAUSE_S = 3.0
"""Between two measurements: each takes the link for a second."""


IPERF_EVERY_S = 60.0
"""Without frames on the link: to start a test takes a weak processor as long as a frame does. Pings in between."""

PING_S = 0.05
"""What a ping that measures beside frames may take of the link, at the bandwidth that is known."""


LEAST_PING_BYTES = 48 * limits.KIB
"""Its first read, of up to 16 KiB, tells nothing, and a link's burst may bring as much at once: the rest must."""


def ping_bytes(bandwidth_bps: float) -> int:
    """Return the payload of a ping that measures a link of about this bandwidth."""
    fitting = int(bandwidth_bps * PING_S / 8)
    return min(max(fitting, LEAST_PING_BYTES), limits.CHANNEL_PROBE_BYTES)


class Prober:
    """Keeps the link estimate fresh, at little cost to the traffic."""

    def __init__(self, uplink: Uplink, estimate: LinkEstimate, cloud: Address, interval_s: float) -> None:
        self._uplink = uplink
        self._estimate = estimate
        self._host = cloud.host
        self._old_s = max(interval_s, LEAST_PAUSE_S)
        self._traffic = True
        self._resumed = False
        self._complaint: str | None = None
        self._tried_at: float | None = None
        self._confirmed_slow_at: float | None = None

    def saw_traffic(self, now: float) -> bool:
        """Take note of a frame: without any, nothing needs to be known.

        Says whether it ends a pause in which nobody looked at the link: what is known of it may have become wrong.
        """
        newest = self._estimate.newest_at()
        resumed = not self._traffic and newest is not None and now - newest > self._old_s
        self._resumed |= resumed
        self._traffic = True
        return resumed

    def needed(self, uses_cloud: bool, now: float) -> bool:
        """Say whether to measure: nothing is known, or frames flow and their own traffic does not tell."""
        newest = self._estimate.newest_at()
        if newest is None or self.has_to_confirm(uses_cloud):
            return True
        if not self._traffic or now - newest < LEAST_PAUSE_S:
            return False
        return not (uses_cloud and now - newest <= self._old_s)

    def has_to_confirm(self, uses_cloud: bool) -> bool:
        """Say whether frames keep off a link that a transfer under way was slow on, and nobody has looked since.

        Links stand still for a moment, wireless ones often. No frame would tell that it was no more than that.
        """
        slow_at = self._estimate.slow_at
        return not uses_cloud and slow_at is not None and slow_at != self._confirmed_slow_at

    async def measure_if_needed(self, uses_cloud: bool) -> None:
        """Measure, if needed. Raises `LinkLostError` when the line goes meanwhile."""
        if not self.needed(uses_cloud, time.perf_counter()):
            return
        self._traffic = False
        began = time.perf_counter()
        await self._measure(uses_cloud)
        bandwidth_bps, seconds = self._estimate.bandwidth_bps, time.perf_counter() - began
        log.debug(
            "bandwidth measured", bandwidth=format_bandwidth(bandwidth_bps or 0.0), seconds=round(seconds, 3)
        )

    async def _measure(self, uses_cloud: bool) -> None:
        bandwidth_bps = self._estimate.bandwidth_bps
        tried = self._tried_at is not None and time.perf_counter() - self._tried_at < IPERF_EVERY_S
        resumed, self._resumed = self._resumed, False
        confirms, self._confirmed_slow_at = self.has_to_confirm(uses_cloud), self._estimate.slow_at
        if tried or (bandwidth_bps is not None and (uses_cloud or resumed or confirms)):
            # Frames on the link, too short to tell, would be held up by a second of iperf3; the first frames after a
            # pause by its start, which takes a weak processor as long as they do. And a second is long where a link
            # may be as it was.
            nbytes = limits.CHANNEL_PROBE_BYTES if bandwidth_bps is None else ping_bytes(bandwidth_bps)
            await self._ping(nbytes)
            return
        # A test that fails may have waited for seconds, behind a firewall say: it is not tried at each look either,
        # nor on each connection of a link that comes and goes.
        self._tried_at = time.perf_counter()
        try:
            grant = await self._uplink.probe_turn()
            bps = await measure_bandwidth(self._host, grant.port)
        except ProbeError as error:
            if str(error) != self._complaint:
                log.warning("iperf3 not available now, measuring by ping instead", reason=str(error))
            self._complaint = str(error)
            await self._ping(limits.CHANNEL_PROBE_BYTES)
            return
        self._complaint = None
        self._estimate.add(BandwidthSample(bps, time.perf_counter(), "iperf3"))

    async def _ping(self, nbytes: int) -> None:
        await self._uplink.probe_by_ping(nbytes)
        if (doubted_bps := self._estimate.doubted_bps) is not None:
            await self._uplink.probe_by_ping(ping_bytes(doubted_bps))
