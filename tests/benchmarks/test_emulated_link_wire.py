"""Facts about one direction of the emulated link, on a virtual clock."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.emulated_link_shape import LinkShape
from benchmarks.emulated_link_wire import Lane, Mark, Wire

MBIT = 1e6


def unload(wire: Wire, lane: Lane, now_s: float) -> bytes:
    """Take all bytes that have landed."""
    wire.advance(now_s)
    received = b""
    while isinstance(chunks := wire.landed(lane, now_s), list):
        received += b"".join(chunks)
        lane.unload_bytes(sum(map(len, chunks)))
    return received


def fill(wire: Wire, lane: Lane, now_s: float) -> None:
    """Offer as a sender does that always has more to send."""
    while room_bytes := wire.room_bytes(lane):
        wire.offer(lane, bytes(min(room_bytes, 5000)), now_s)


@pytest.mark.parametrize("rate_bps", [0.1 * MBIT, 5 * MBIT, 20 * MBIT, 200 * MBIT, 500 * MBIT])
def test_achieves_the_rate_whatever_the_timer_does(rate_bps: float) -> None:
    """Ticks that come 1 to 6 ms apart, as on a busy machine, cost no rate."""
    wire = Wire(LinkShape(rate_bps=rate_bps))
    lane = wire.add_lane()
    rng = random.Random(1)
    now_s, received_bytes = 1000.0, 0
    fill(wire, lane, now_s)
    while now_s < 1002.0:
        now_s += rng.uniform(0.001, 0.006)
        received_bytes += len(unload(wire, lane, now_s))
        fill(wire, lane, now_s)
    # A slow link has up to one quantum unfinished at the end.
    assert received_bytes + wire.shape.quantum_bytes >= rate_bps * (now_s - 1000) / 8 * 0.999
    assert received_bytes <= rate_bps * (now_s - 1000) / 8 * 1.001


def test_a_stall_of_the_process_is_caught_up_only_in_part() -> None:
    """After a long stall a held-back sender regains at most 20 ms, not the whole second."""
    wire = Wire(LinkShape(rate_bps=8 * MBIT))
    lane = wire.add_lane()
    fill(wire, lane, 0.0)
    received_bytes = len(unload(wire, lane, 1.0))  # what was waiting or being sent
    at_once_bytes = 0
    for _ in range(100):
        fill(wire, lane, 1.0)
        at_once_bytes += len(unload(wire, lane, 1.0))
    assert received_bytes <= wire.shape.waiting_limit_bytes + wire.shape.quantum_bytes
    assert 0 < at_once_bytes <= 0.020 * MBIT


def test_a_packet_train_after_a_pause_is_spaced_as_on_a_real_link() -> None:
    """There is no burst: the first quantum after any pause already takes its time."""
    wire = Wire(LinkShape(rate_bps=10 * MBIT))
    lane = wire.add_lane()
    quantum_s = wire.shape.seconds_for(wire.shape.quantum_bytes)
    for start_s in (5.0, 5.1, 60.0):
        wire.offer(lane, bytes(6 * wire.shape.quantum_bytes), start_s)
        for packet in range(1, 7):
            assert unload(wire, lane, start_s + packet * quantum_s - 1e-5) == b""
            assert len(unload(wire, lane, start_s + packet * quantum_s + 1e-5)) == wire.shape.quantum_bytes


def test_a_small_message_on_an_idle_link_takes_the_delay_and_its_own_bits() -> None:
    """An idle link adds the delay and the message's own sending time, nothing else."""
    wire = Wire(LinkShape(rate_bps=1 * MBIT, delay_ms=30))
    lane = wire.add_lane()
    wire.offer(lane, bytes(125), 7.0)  # 1 ms at this rate
    assert wire.wake_s() == pytest.approx(7.001)
    assert unload(wire, lane, 7.0305) == b""
    assert wire.wake_s() == pytest.approx(7.031)
    assert len(unload(wire, lane, 7.0311)) == 125


def test_jitter_spreads_the_delay_and_lets_nothing_overtake() -> None:
    """Each quantum is delayed by 20 to 40 ms; bytes land in the order they were sent in."""
    wire = Wire(LinkShape(delay_ms=30, jitter_ms=10), rng=random.Random(3))
    lane = wire.add_lane()
    delays = []
    for number in range(200):
        start_s = float(number)
        wire.offer(lane, bytes([number]), start_s)
        landed_s = wire.wake_s()
        assert landed_s is not None
        assert unload(wire, lane, landed_s) == bytes([number])
        delays.append(landed_s - start_s)
    assert 0.020 <= min(delays) < 0.023
    assert 0.037 < max(delays) <= 0.040
    data = random.Random(4).randbytes(50_000)
    wire = Wire(LinkShape(rate_bps=20 * MBIT, delay_ms=1, jitter_ms=5), rng=random.Random(5))
    lane = wire.add_lane()
    wire.offer(lane, data, 0.0)
    assert b"".join(unload(wire, lane, tick * 0.001) for tick in range(60)) == data


def test_slices_come_one_by_one() -> None:
    """A piece each millisecond, however fast the link is."""
    wire = Wire(LinkShape(slice_bytes=10))
    lane = wire.add_lane()
    wire.offer(lane, bytes(range(35)), 0.0)
    pieces = [unload(wire, lane, tick * 0.001 + 1e-6) for tick in range(6)]
    assert [len(piece) for piece in pieces] == [0, 10, 10, 10, 5, 0]
    assert b"".join(pieces) == bytes(range(35))


def test_a_slow_close_is_behind_its_bytes() -> None:
    """The bytes land as ever; that there are no more of them, half a second later."""
    wire = Wire(LinkShape(delay_ms=5, slow_close_ms=500))
    lane = wire.add_lane()
    wire.offer(lane, b"the last", 0.0)
    wire.offer(lane, Mark.FINISHED, 0.0)
    assert unload(wire, lane, 0.006) == b"the last"
    assert wire.landed(lane, 0.504) is None
    assert wire.landed(lane, 0.506) is Mark.FINISHED


@pytest.mark.parametrize(
    "wrong",
    [{"jitter_ms": -1.0}, {"slow_close_ms": math.inf}, {"slice_bytes": 0}, {"limit_bytes": -5}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_shape_that_cannot_be_is_refused_by_name(wrong: dict[str, float]) -> None:
    """The message names the field and the number."""
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is at least"):
        LinkShape(**wrong)  # type: ignore[arg-type]


def test_two_lanes_share_the_rate_in_small_turns() -> None:
    """A lane with a long queue does not delay another's bytes by more than a few turns."""
    wire = Wire(LinkShape(rate_bps=10 * MBIT))
    greedy, second = wire.add_lane(), wire.add_lane()
    counts = [0, 0]
    for tick in range(1000):
        fill(wire, greedy, tick * 0.001)
        fill(wire, second, tick * 0.001)
        counts[0] += len(unload(wire, greedy, tick * 0.001))
        counts[1] += len(unload(wire, second, tick * 0.001))
        assert abs(counts[0] - counts[1]) <= 2 * wire.shape.quantum_bytes
    assert sum(counts) == pytest.approx(10 * MBIT / 8, rel=0.01)


def test_a_cut_holds_everything_and_restoring_goes_on_where_it_stopped() -> None:
    """Nothing lands during a cut, not even what was in flight; no time is caught up after it."""
    wire = Wire(LinkShape(rate_bps=8 * MBIT, delay_ms=10))
    lane = wire.add_lane()
    data = random.Random(2).randbytes(8000)  # 8 ms
    wire.offer(lane, data, 0.0)
    wire.advance(0.004)
    wire.reshape(LinkShape(rate_bps=0, delay_ms=10), 0.004)
    assert wire.wake_s() is None
    assert unload(wire, lane, 100.0) == b""
    wire.offer(lane, b"later", 100.0)
    wire.reshape(LinkShape(rate_bps=8 * MBIT, delay_ms=10), 200.0)
    first = unload(wire, lane, 200.0)
    assert 0 < len(first) <= 4000  # what had passed the bottleneck before the cut
    assert unload(wire, lane, 200.0099) == b""  # what had not needs the delay, and its own time
    rest = unload(wire, lane, 200.0120)
    assert 0 < len(rest) <= 0.002 * MBIT + wire.shape.quantum_bytes
    assert first + rest + unload(wire, lane, 200.0151) == data + b"later"


def test_a_change_of_rate_applies_to_the_quantum_that_is_being_sent() -> None:
    """A link raised from a crawl does not finish its quantum at the crawl first."""
    wire = Wire(LinkShape(rate_bps=8_000))
    lane = wire.add_lane()
    wire.offer(lane, bytes(1000), 0.0)  # 1 s at this rate
    wire.reshape(LinkShape(rate_bps=8 * MBIT), 0.5)
    assert wire.wake_s() == pytest.approx(0.5005)
    wire.reshape(LinkShape(rate_bps=0), 0.50025)
    wire.reshape(LinkShape(rate_bps=None), 9.0)
    assert len(unload(wire, lane, 9.0)) == 1000


def test_a_shorter_delay_never_reorders_a_lane() -> None:
    """Bytes sent after the delay fell land after those in flight."""
    wire = Wire(LinkShape(delay_ms=100))
    lane = wire.add_lane()
    wire.offer(lane, b"first", 0.0)
    wire.reshape(LinkShape(delay_ms=0), 0.01)
    wire.offer(lane, b"second", 0.01)
    assert unload(wire, lane, 0.02) == b""
    assert unload(wire, lane, 0.1) == b"firstsecond"


def test_marks_keep_their_place_among_the_bytes() -> None:
    """A FIN lands after the bytes before it, and hides those behind it until it is acted upon."""
    wire = Wire(LinkShape())
    lane = wire.add_lane()
    for piece in (Mark.OPEN, b"ab", Mark.FINISHED, b"cd"):
        wire.offer(lane, piece, 0.0)
    assert wire.landed(lane, 0.0) is Mark.OPEN
    lane.unload_mark()
    assert unload(wire, lane, 0.0) == b"ab"
    assert wire.landed(lane, 0.0) is Mark.FINISHED
    lane.unload_mark()
    assert unload(wire, lane, 0.0) == b"cd"


def test_a_receiver_that_does_not_read_stops_its_lane_only() -> None:
    """In flight is bounded for the slow lane; the other one has the whole link."""
    wire = Wire(LinkShape(rate_bps=80 * MBIT))
    stuck, other = wire.add_lane(), wire.add_lane()
    other_bytes = 0
    for tick in range(1000):
        fill(wire, stuck, tick * 0.001)
        fill(wire, other, tick * 0.001)
        other_bytes += len(unload(wire, other, tick * 0.001))
    shape = wire.shape
    bound_bytes = shape.flying_limit_bytes + shape.quantum_bytes + shape.waiting_limit_bytes
    assert stuck.flying_bytes + stuck.waiting_bytes <= bound_bytes
    assert other_bytes >= 0.9 * 10 * MBIT


def test_a_removed_lane_leaves_the_bottleneck_to_the_others() -> None:
    """A broken connection takes its bytes with it, in whatever state they are."""
    wire = Wire(LinkShape(rate_bps=8 * MBIT))
    gone, other = wire.add_lane(), wire.add_lane()
    wire.offer(gone, bytes(10_000), 0.0)
    wire.offer(other, b"still here", 0.0)
    wire.remove_lane(gone)
    assert unload(wire, other, 1.0) == b"still here"
    assert wire.held_bytes() == 0


@given(
    pieces=st.lists(st.binary(min_size=1, max_size=9000), max_size=12),
    rates=st.lists(st.sampled_from([None, 0.0, 1e5, 2e7, 5e8]), max_size=6),
    seed=st.integers(0, 1000),
)
def test_every_byte_arrives_once_and_in_order(
    pieces: list[bytes], rates: list[float | None], seed: int
) -> None:
    """Whatever the rates, the delays and the pieces read by the receiver, the bytes are the bytes."""
    rng = random.Random(seed)
    wire = Wire(LinkShape(rate_bps=1e6))
    lane = wire.add_lane()
    now_s, received = 0.0, b""
    todo = list(pieces)
    while todo or rates:
        now_s += rng.expovariate(200)
        if todo and rng.random() < 0.6:
            wire.offer(lane, todo.pop(0), now_s)
        elif rates:
            wire.reshape(LinkShape(rate_bps=rates.pop(), delay_ms=rng.choice([0, 3, 50])), now_s)
        chunks = wire.landed(lane, now_s)
        if isinstance(chunks, list) and (count := rng.randint(0, sum(map(len, chunks)))):
            received += b"".join(chunks)[:count]
            lane.unload_bytes(count)
    wire.reshape(LinkShape(), now_s)
    received += unload(wire, lane, now_s + 60)
    assert received == b"".join(pieces)
    assert wire.held_bytes() == 0
    assert wire.wake_s() is None


@pytest.mark.parametrize(
    ("numbers", "complaint"),
    [
        ({"rate_bps": -1.0}, "rate_bps"),
        ({"rate_bps": math.inf}, "rate_bps"),
        ({"rate_bps": math.nan}, "rate_bps"),
        ({"delay_ms": -0.1}, "delay_ms"),
        ({"delay_ms": math.nan}, "delay_ms"),
        ({"queue_bytes": 0}, "queue_bytes"),
    ],
)
def test_a_shape_refuses_numbers_outside_their_range(numbers: dict[str, float], complaint: str) -> None:
    """An impossible link is refused where it is described."""
    with pytest.raises(ValueError, match=complaint):
        LinkShape(**numbers)  # type: ignore[arg-type]
