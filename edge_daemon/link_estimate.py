"""What the link carries now: iperf3's measurements and the traffic's own goodput, fused."""

from __future__ import annotations

import statistics
from collections import deque
from dataclasses import dataclass, replace
from typing import Literal

from common import limits

Origin = Literal["iperf3", "traffic", "ping"]

RECENT = 5
"""Samples the estimate is the median of: three of a changed bandwidth move it, one outlier does not."""
STALE_S = 30.0
"""A sample older than this counts only while there is no newer one."""
PING_OUTWEIGHS_S = 2.5
"""A sample older than this counts no longer once a ping has measured."""
DOUBTED_BELOW = 0.75
"""A ping that finds less than this part of what is believed may have met other traffic: the next one counts, too."""
PINGS = 10
"""Round trips of which the least counts: the others waited behind tensors."""
PACE = 1.5
"""Of the bandwidth, how fast bytes are handed to the network: a frame sent at once overruns the link's queue …"""
FASTER = 1.1
"""… but not while the newest sample says more than this part of what is believed: the link may be faster now …"""
FASTEST_PACED_BPS = 200e6
"""… nor above this, where a frame's bytes are there in a moment."""
FASTEST_BPS = 10e9
"""No sample says more: what arrived at once tells only that the link is no bottleneck."""


@dataclass(frozen=True, slots=True)
class BandwidthSample:
    """One measurement of the bandwidth upwards, in bit/s."""

    bps: float
    at: float
    origin: Origin


def goodput(receive_ms: float, spaced_bytes: int, at: float, origin: Origin) -> BandwidthSample | None:
    """Tell the bandwidth from how a message arrived at the cloud: so many bytes in so much time.

    None when too little of it was still on the way for that to mean anything (packet-train dispersion).
    """
    if spaced_bytes < limits.MIN_GOODPUT_BYTES:
        return None
    bps = spaced_bytes * 8000.0 / receive_ms if receive_ms > 0 else FASTEST_BPS
    return BandwidthSample(min(bps, FASTEST_BPS), at, origin)


class LinkEstimate:
    """The present bandwidth and round trip, by what was measured lately. Times are any monotonic clock's."""

    def __init__(self) -> None:
        self._samples: deque[BandwidthSample] = deque(maxlen=RECENT)
        self._transfers: deque[BandwidthSample] = deque(maxlen=RECENT)
        self._round_trips_ms: deque[float] = deque(maxlen=PINGS)
        self._doubted: BandwidthSample | None = None
        self._slow_at: float | None = None

    @property
    def slow_at(self) -> float | None:
        """When a transfer under way was last found slow; none if the link has been measured since."""
        return self._slow_at

    @property
    def doubted_bps(self) -> float | None:
        """What the last ping found, if that is held back until there is another."""
        return self._doubted.bps if self._doubted is not None else None

    def add(self, sample: BandwidthSample) -> None:
        """Take a sample in. An iperf3 test outweighs all before it: it looked longer and at nothing else. So does a
        ping what a transfer under way has shown, which was of a moment.

        A ping is on the link for some hundredths of a second. One that finds much less than is believed is held back;
        of it and the next one the greater counts.
        """
        if sample.origin == "ping":
            doubted, believed = self._doubted, self.bandwidth_bps
            if doubted is None and believed is not None and sample.bps < DOUBTED_BELOW * believed:
                self._doubted = sample
                return
            if doubted is not None:
                sample = replace(sample, bps=max(sample.bps, doubted.bps))
            self._doubted = None
        if sample.origin == "iperf3" or (sample.origin == "ping" and self._slow_at is not None):
            self._forget_bandwidth()
        # A ping measures where traffic does not tell: what was before it is as old as the pause between pings.
        oldest = PING_OUTWEIGHS_S if sample.origin == "ping" else STALE_S
        # And a link that stood still a moment ago had no rate at all: half of nothing and this would be none, either.
        while self._samples and (sample.at - self._samples[0].at > oldest or not self._samples[0].bps):
            self._samples.popleft()
        self._samples.append(sample)

    def add_transfer(self, nbytes: int, link_ms: float, at: float) -> None:
        """Take in how long a frame was on the link, beside the cloud's own time, with `nbytes` of payload.

        How a message arrives tells too little where a shallow queue has lost its end: what came first, in a burst, is
        not counted then, and the wait for what was sent again is.
        """
        if nbytes >= limits.MIN_GOODPUT_BYTES:
            bps = nbytes * 8000.0 / max(link_ms - self.rtt_ms, 1e-3)
            self._transfers.append(BandwidthSample(min(bps, FASTEST_BPS), at, "traffic"))

    def add_slow(self, sample: BandwidthSample) -> None:
        """Take in what a transfer under way has shown so far, if that is less than believed.

        It need not come to its end for that, and what was measured before it is of another link.
        """
        believed = self.bandwidth_bps
        if believed is not None and sample.bps < believed:
            self._forget_bandwidth()
            self._samples.append(sample)
            self._slow_at = sample.at

    def add_round_trip(self, ms: float) -> None:
        self._round_trips_ms.append(ms)

    def forget(self) -> None:
        """Forget all: the link was gone, nothing measured before it holds."""
        self._forget_bandwidth()
        self._round_trips_ms.clear()

    def _forget_bandwidth(self) -> None:
        self._samples.clear()
        self._transfers.clear()
        self._doubted = self._slow_at = None

    @property
    def bandwidth_bps(self) -> float | None:
        """Bit/s upwards; none while nothing is known.

        Transfers wait behind each other's bytes, arrivals lose their beginning: each tells too little at times, and
        the one that tells more is the link's. A transfer older than all arrivals that count is of another link.
        """
        if not self._samples:
            return None
        oldest = self._samples[0].at
        transfers = [s.bps for s in self._transfers if s.at >= oldest]
        arrived = statistics.median(s.bps for s in self._samples)
        return max(arrived, statistics.median(transfers)) if transfers else arrived

    @property
    def pace_bps(self) -> float | None:
        """How fast a connection should hand bytes to the network, in bit/s; none where it should not wait.

        TCP sends a frame after a pause as fast as the first hop takes it. What the queue before the slowest link has
        no room for is lost, and to send the end of a frame again takes longer than all of it did.
        """
        believed = self.bandwidth_bps
        if not believed or believed > FASTEST_PACED_BPS or self._samples[-1].bps > FASTER * believed:
            return None
        return PACE * believed

    @property
    def rtt_ms(self) -> float:
        """Round trip of a small message, in ms; 0 while nothing is known."""
        return min(self._round_trips_ms, default=0.0)

    def newest_at(self) -> float | None:
        """When the newest sample was taken."""
        return self._samples[-1].at if self._samples else None

    @property
    def origin(self) -> Origin | None:
        return self._samples[-1].origin if self._samples else None
