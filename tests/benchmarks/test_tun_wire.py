"""Facts about one direction of the packet link; time is a number here."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.tun_wire import QUEUE_LEAST_BYTES, PacketWire, WireShape

MEGABIT = WireShape(rate_bps=1e6, delay_ms=20)
"""1,250 bytes take 10 ms to send, and 20 ms to fly."""
PACKET = bytes(1250)


def landings(wire: PacketWire) -> list[float]:
    """Empty the wire; return when each packet landed."""
    times = []
    while (wake_s := wire.wake_s()) is not None:
        times += [wake_s] * len(wire.landed(wake_s))
    return times


def test_a_lone_packet_lands_after_sending_and_delay() -> None:
    """It is there when its last bit has been sent and has flown, and not before."""
    wire = PacketWire(MEGABIT)
    assert wire.offer(PACKET, 5.0)
    assert wire.wake_s() == pytest.approx(5.030)
    assert wire.landed(5.0299) == []
    assert wire.landed(5.0301) == [PACKET]
    assert wire.wake_s() is None


def test_packets_leave_back_to_back() -> None:
    """What is offered at once lands a packet's time apart: no burst, and no gap either."""
    wire = PacketWire(MEGABIT)
    for _ in range(5):
        wire.offer(PACKET, 0.0)
    assert landings(wire) == pytest.approx([0.030, 0.040, 0.050, 0.060, 0.070])


def test_a_pause_earns_nothing() -> None:
    """An idle link saves up no rate for later."""
    wire = PacketWire(MEGABIT)
    wire.offer(PACKET, 0.0)
    wire.offer(PACKET, 10.0)
    wire.offer(PACKET, 10.0)
    assert landings(wire) == pytest.approx([0.030, 10.030, 10.040])


def test_looking_late_costs_no_rate() -> None:
    """Who looks seldom finds everything that landed by then, at the times it would have landed anyway."""
    wire = PacketWire(MEGABIT)
    for _ in range(10):
        wire.offer(PACKET, 0.0)
    assert len(wire.landed(0.0701)) == 5
    wire.offer(PACKET, 0.080)
    assert landings(wire)[-1] == pytest.approx(0.130)


def test_a_full_queue_drops_what_comes_and_keeps_what_it_has() -> None:
    """Beyond 50 ms at the rate and 16 KiB a packet is lost; as soon as there is room the next one is taken."""
    wire = PacketWire(MEGABIT)
    assert MEGABIT.queue_bytes == 6250 + QUEUE_LEAST_BYTES
    taken = [wire.offer(PACKET, 0.0) for _ in range(30)]
    room = MEGABIT.queue_bytes // len(PACKET)
    assert taken == [True] * room + [False] * (30 - room)
    assert wire.dropped == 30 - room
    assert wire.offer(PACKET, 0.010), "one packet has been sent"
    assert not wire.offer(PACKET, 0.010)
    assert len(landings(wire)) == room + 1


def test_the_queue_does_not_count_what_flies() -> None:
    """A long delay holds any number of packets that have been sent."""
    wire = PacketWire(WireShape(rate_bps=1e6, delay_ms=10_000))
    assert all(wire.offer(PACKET, number * 0.010) for number in range(500))
    assert wire.backlog_bytes(5.0) == pytest.approx(0, abs=1e-6)


def test_a_new_rate_holds_at_once_for_what_waits() -> None:
    """The rest of the packet that is being sent, and all behind it, take as long as the new rate says."""
    wire = PacketWire(MEGABIT)
    for _ in range(3):
        wire.offer(PACKET, 0.0)
    wire.reshape(WireShape(rate_bps=10e6, delay_ms=20), 0.005)
    assert wire.backlog_bytes(0.005) == pytest.approx(2.5 * len(PACKET))
    wire.offer(PACKET, 0.005)
    assert landings(wire) == pytest.approx([0.0255, 0.0265, 0.0275, 0.0285])


def test_a_shorter_delay_lets_nothing_overtake() -> None:
    """What flies keeps its time; what is sent after the change lands no sooner than it."""
    wire = PacketWire(MEGABIT)
    wire.offer(b"first" + PACKET, 0.0)
    wire.reshape(WireShape(rate_bps=1e6, delay_ms=0), 0.015)
    wire.offer(b"second", 0.016)
    times = [wire.wake_s()]
    assert times == pytest.approx([0.03004])
    assert wire.landed(0.0301) == [b"first" + PACKET, b"second"]


@given(
    st.lists(
        st.tuples(st.floats(0, 0.02), st.integers(20, 1500), st.sampled_from([None, 1e5, 1e6, 1e8])),
        max_size=60,
    ),
    st.floats(0, 50),
)
def test_whatever_is_offered_lands_in_order_once_and_never_early(
    steps: list[tuple[float, int, float | None]], delay_ms: float
) -> None:
    """No packet is lost but by a drop, none overtakes, and none is faster than delay and the highest rate allow."""
    wire = PacketWire(WireShape(rate_bps=1e6, delay_ms=delay_ms))
    now_s, sent, seen = 0.0, [], []
    for number, (pause_s, size, rate_bps) in enumerate(steps):
        now_s += pause_s
        seen += [(packet, now_s) for packet in wire.landed(now_s)]
        if rate_bps is not None:
            wire.reshape(WireShape(rate_bps=rate_bps, delay_ms=delay_ms), now_s)
        packet = number.to_bytes(2, "big") + bytes(size)
        if wire.offer(packet, now_s):
            sent.append((packet, now_s))
    while (wake_s := wire.wake_s()) is not None:
        seen += [(packet, wake_s) for packet in wire.landed(wake_s)]
    assert [packet for packet, _ in seen] == [packet for packet, _ in sent]
    assert len(sent) + wire.dropped == len(steps)
    for (packet, sent_s), (_, landed_s) in zip(sent, seen, strict=True):
        assert landed_s - sent_s >= len(packet) * 8 / 1e8 + delay_ms / 1e3 - 1e-9


@pytest.mark.parametrize("rate_bps", [0, -1, math.inf, math.nan])
def test_a_rate_is_a_positive_number(rate_bps: float) -> None:
    """A rate of nothing would hold packets for ever, and an endless one has no queue."""
    with pytest.raises(ValueError, match="rate_bps is a positive number"):
        WireShape(rate_bps=rate_bps)


@pytest.mark.parametrize("delay_ms", [-1, math.inf, math.nan])
def test_a_delay_is_not_negative(delay_ms: float) -> None:
    """Nothing lands before it is sent."""
    with pytest.raises(ValueError, match="delay_ms is at least 0"):
        WireShape(rate_bps=1e6, delay_ms=delay_ms)
