"""Facts about when the bandwidth is measured, and how."""

from __future__ import annotations

import time
from typing import cast

import pytest

from common import limits
from common.config import Address
from common.errors import LinkLostError, ProbeError
from common.wire.connection import SCRATCH_BYTES
from common.wire.messages import ProbeGrant
from edge_daemon import prober as module
from edge_daemon.link_estimate import BandwidthSample, LinkEstimate, goodput
from edge_daemon.prober import LEAST_PAUSE_S, Prober, ping_bytes
from edge_daemon.uplink import Uplink
from tests.event_loop import run


class FakeUplink:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.turns = 0
        self.pings = 0
        self.ping_bytes = 0

    async def probe_turn(self) -> ProbeGrant:
        self.turns += 1
        if self.error is not None:
            raise self.error
        return ProbeGrant(port=5201, seconds=4.0)

    async def probe_by_ping(self, nbytes: int = limits.CHANNEL_PROBE_BYTES) -> None:
        self.pings += 1
        self.ping_bytes = nbytes


def prober(
    estimate: LinkEstimate | None = None, uplink: FakeUplink | None = None, interval_s: float = 5.0
) -> Prober:
    return Prober(
        cast(Uplink, uplink or FakeUplink()),
        estimate or LinkEstimate(),
        Address(host="rack", port=7400),
        interval_s,
    )


def known(at: float) -> LinkEstimate:
    estimate = LinkEstimate()
    estimate.add(BandwidthSample(1e6, at, "traffic"))
    return estimate


@pytest.mark.parametrize("uses_cloud", [True, False])
def test_an_unknown_bandwidth_is_measured(uses_cloud: bool) -> None:
    """Nothing can be planned without it."""
    assert prober().needed(uses_cloud, 0.0)


def test_traffic_that_tells_the_bandwidth_saves_the_probe() -> None:
    """While frames go to the cloud their own arrival is the measurement, as long as it is fresh."""
    for interval_s, fresh_s in ((5.0, 5.0), (0.5, LEAST_PAUSE_S)):
        found = prober(known(100.0), interval_s=interval_s)
        assert not found.needed(True, 100.0 + fresh_s)
        assert found.needed(True, 100.1 + fresh_s)


def test_without_traffic_to_the_cloud_each_look_measures() -> None:
    """Frames that stay on the edge tell nothing of the link; but probes leave the link alone in between."""
    assert prober(known(100.0)).needed(False, 100.0 + LEAST_PAUSE_S)
    assert not prober(known(100.0)).needed(False, 99.9 + LEAST_PAUSE_S)


def test_a_frame_that_ends_a_pause_says_so_once_where_what_is_known_is_old() -> None:
    """The plan is that of the link as it was before the pause; while frames flow the looks in turn are enough."""
    assert not prober().saw_traffic(1000.0), "nothing is known: that is measured anyway"
    estimate, interval_s = known(-1000.0), 5.0
    found = prober(estimate, interval_s=interval_s)
    assert not found.saw_traffic(0.0), "no pause: nothing was measured since the frames before"

    async def main() -> None:
        await found.measure_if_needed(True)  # a ping, of which nothing comes here: what is known stays old
        assert found.saw_traffic(0.0)
        assert not found.saw_traffic(0.0)
        await found.measure_if_needed(True)
        estimate.add(BandwidthSample(1e6, 0.0, "traffic"))
        assert not found.saw_traffic(interval_s)

    run(main())


def test_the_first_frames_after_a_pause_are_not_held_up_by_the_start_of_a_test(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A ping is enough to see that the link is another one; iperf3 measures at a later look."""

    async def measure(host: str, port: int) -> float:
        return 1e6

    monkeypatch.setattr(module, "measure_bandwidth", measure)
    estimate, uplink = known(-1000.0), FakeUplink()
    found = prober(estimate, uplink)

    async def main() -> None:
        await found.measure_if_needed(True)
        assert (uplink.turns, uplink.pings) == (0, 1)
        assert found.saw_traffic(0.0)
        await found.measure_if_needed(False)
        assert (uplink.turns, uplink.pings) == (0, 2)
        estimate.add(BandwidthSample(1e6, -1.0, "ping"))
        assert not found.saw_traffic(0.0)
        await found.measure_if_needed(False)
        assert (uplink.turns, uplink.pings) == (1, 2)

    run(main())


def test_a_link_that_was_slow_for_a_moment_is_looked_at_once_by_a_ping() -> None:
    """At once where no frames are on it, and not again and again while nothing comes of it."""
    estimate, uplink = known(100.0), FakeUplink()
    found = prober(estimate, uplink)
    estimate.add_slow(BandwidthSample(0.2e6, 100.1, "traffic"))
    assert not found.has_to_confirm(True)
    assert not found.needed(True, 100.2), "its frames tell how it is now"
    assert found.needed(False, 100.2)

    async def main() -> None:
        await found.measure_if_needed(False)
        assert (uplink.turns, uplink.pings) == (0, 1)
        assert not found.has_to_confirm(False)
        estimate.add_slow(BandwidthSample(0.1e6, 103.0, "traffic"))
        assert found.has_to_confirm(False)

    run(main())


def test_without_any_frames_nothing_needs_to_be_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """One probe after the last frame, then quiet until the next."""

    async def measure(host: str, port: int) -> float:
        return 1e6

    monkeypatch.setattr(module, "measure_bandwidth", measure)
    monkeypatch.setattr(module, "LEAST_PAUSE_S", 0.0)
    uplink = FakeUplink()
    found = prober(known(0.0), uplink)

    async def main() -> None:
        for _ in range(3):
            await found.measure_if_needed(False)
        assert uplink.turns == 1
        assert uplink.pings == 0
        found.saw_traffic(time.perf_counter())
        await found.measure_if_needed(False)
        assert uplink.pings == 1

    run(main())


def test_an_edge_that_computes_alone_is_spared_the_start_of_a_test_at_each_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """iperf3 measures once a minute; short pings look whether that still holds."""

    async def measure(host: str, port: int) -> float:
        return 8e6

    monkeypatch.setattr(module, "measure_bandwidth", measure)
    monkeypatch.setattr(module, "LEAST_PAUSE_S", 0.0)
    uplink = FakeUplink()
    found = prober(uplink=uplink)

    async def main() -> None:
        for _ in range(4):
            found.saw_traffic(time.perf_counter())
            await found.measure_if_needed(False)
        assert (uplink.turns, uplink.pings, uplink.ping_bytes) == (1, 3, ping_bytes(8e6))
        monkeypatch.setattr(module, "IPERF_EVERY_S", 0.0)
        found.saw_traffic(time.perf_counter())
        await found.measure_if_needed(False)
        assert (uplink.turns, uplink.pings) == (2, 3)

    run(main())


def test_a_test_that_fails_is_not_tried_at_each_look_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a firewall that swallows it a test takes seconds, in which nothing is planned."""
    asked = 0

    async def fail(host: str, port: int) -> float:
        nonlocal asked
        asked += 1
        raise ProbeError("iperf3: no answer within 8 s")

    monkeypatch.setattr(module, "measure_bandwidth", fail)
    monkeypatch.setattr(module, "LEAST_PAUSE_S", 0.0)
    uplink, estimate = FakeUplink(), LinkEstimate()
    found = prober(estimate, uplink)

    async def main() -> None:
        for _ in range(4):
            found.saw_traffic(time.perf_counter())
            await found.measure_if_needed(False)
            estimate.add(BandwidthSample(8e6, time.perf_counter(), "ping"))
        assert (asked, uplink.pings) == (1, 4)
        estimate.forget()  # the link was gone for a moment
        await found.measure_if_needed(False)
        assert (asked, uplink.pings) == (1, 5)
        monkeypatch.setattr(module, "IPERF_EVERY_S", 0.0)
        found.saw_traffic(time.perf_counter())
        await found.measure_if_needed(False)
        assert asked == 2

    run(main())


def test_iperf3_measures_in_the_clouds_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test goes to the granted port of the cloud's host, and its figure outweighs what was before it."""
    asked: list[tuple[str, int]] = []

    async def measure(host: str, port: int) -> float:
        asked.append((host, port))
        return 25e6

    monkeypatch.setattr(module, "measure_bandwidth", measure)
    estimate, uplink = known(0.0), FakeUplink()

    async def main() -> None:
        await prober(estimate, uplink).measure_if_needed(False)
        assert asked == [("rack", 5201)]
        assert (estimate.bandwidth_bps, estimate.origin) == (25e6, "iperf3")
        assert uplink.pings == 0

    run(main())


def test_a_ping_measures_where_iperf3_cannot(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No turn, or a test that failed: a long ping instead, and the same reason is logged once."""

    async def fail(host: str, port: int) -> float:
        raise ProbeError("iperf3: no iperf3")

    monkeypatch.setattr(module, "measure_bandwidth", fail)

    async def main() -> None:
        for uplink in (FakeUplink(ProbeError("another edge is measuring now")), FakeUplink()):
            found = prober(uplink=uplink)
            for _ in range(3):
                await found.measure_if_needed(True)
            assert uplink.pings == 3
            logged = capsys.readouterr().out
            assert logged.count("measuring by ping instead") == 1
            assert logged.count("bandwidth measured") == 3, "whoever shares the machine may want to know when"

    run(main())


def test_beside_frames_a_short_ping_measures() -> None:
    """Frames too short to tell the bandwidth are not held up by a second of iperf3."""
    estimate, uplink = known(-100.0), FakeUplink()

    async def main() -> None:
        await prober(estimate, uplink).measure_if_needed(True)
        assert (uplink.turns, uplink.pings) == (0, 1)
        assert uplink.ping_bytes == ping_bytes(1e6)

    run(main())


@pytest.mark.parametrize(("second_bps", "believed_bps"), [(40e6, 40e6), (15e6, 20e6)])
def test_a_ping_that_finds_much_less_is_followed_by_another(second_bps: float, believed_bps: float) -> None:
    """At once, and for what the slower link carries: one of them may have met other traffic."""
    found_bps = [20e6, second_bps]
    estimate = LinkEstimate()
    estimate.add(BandwidthSample(40e6, -100.0, "traffic"))

    class Measured(FakeUplink):
        async def probe_by_ping(self, nbytes: int = limits.CHANNEL_PROBE_BYTES) -> None:
            await super().probe_by_ping(nbytes)
            estimate.add(BandwidthSample(found_bps.pop(0), time.perf_counter(), "ping"))

    uplink = Measured()

    async def main() -> None:
        await prober(estimate, uplink).measure_if_needed(True)
        assert (uplink.pings, uplink.ping_bytes, found_bps) == (2, ping_bytes(20e6), [])
        assert estimate.bandwidth_bps == believed_bps

    run(main())


@pytest.mark.parametrize("bps", [1e3, 1e6, 9e6, 20e6, 1e9])
def test_a_ping_is_long_enough_to_tell_and_no_longer_than_it_must(bps: float) -> None:
    """It takes 50 ms of the link where that tells something, and bounded bytes in any case."""
    nbytes = ping_bytes(bps)
    assert nbytes <= limits.CHANNEL_PROBE_BYTES
    left_after_first_read = nbytes - SCRATCH_BYTES
    assert goodput(1.0, left_after_first_read, 0.0, "ping") is not None
    assert goodput(1.0, left_after_first_read - 16 * limits.KIB, 0.0, "ping") is not None, "a burst is free"
    if bps == 9e6:
        assert nbytes == 56_250


def test_a_line_that_goes_while_probing_is_told() -> None:
    """No ping is tried on a line that is gone."""
    uplink = FakeUplink(LinkLostError("gone"))

    async def main() -> None:
        with pytest.raises(LinkLostError):
            await prober(uplink=uplink).measure_if_needed(True)
        assert uplink.pings == 0

    run(main())
