"""Facts about how long frames wait for other edges': as it was, and as it is to be expected."""

from __future__ import annotations

import pytest

from cloud_daemon.frame_lines import Wait
from tests.cloud_daemon.scheduler_rack import FRAME_S, Frame, Key, Rack, scheduler


def test_what_an_edge_causes_itself_does_not_count() -> None:
    """Four of its frames in a row wait for each other, and for nobody else."""
    rack = Rack(scheduler())
    for _ in range(4):
        rack.offer(Frame("only"))
    for _ in range(20):
        rack.turn()
    assert max(rack.held_s["only"]) == pytest.approx(0.0, abs=1e-9)
    assert rack.queue.wait("only", rack.now) == Wait(0.0, 0.0)


@pytest.mark.parametrize("in_flight", [1, 4])
def test_the_wait_for_others_is_their_turns_however_many_frames_are_in_flight(in_flight: int) -> None:
    """Four edges take turns: each frame is held up by three others' frames, not by its own edge's before it."""
    rack = Rack(scheduler())
    for _ in range(in_flight):
        for edge in "abcd":
            rack.offer(Frame(edge))
    for _ in range(80):
        rack.turn()
    for edge in "abcd":
        assert rack.held_s[edge][-5:] == pytest.approx([3 * FRAME_S] * 5)
        assert rack.queue.wait(edge, rack.now).in_line_s == pytest.approx(3 * FRAME_S)
    assert rack.queue.wait("new", rack.now).in_line_s == pytest.approx(4 * FRAME_S)


def test_what_others_add_to_a_batch_counts() -> None:
    """With its own time alone it sums up to the time between two frames of an edge."""
    rack = Rack(scheduler())
    key = Key(4)
    for _ in range(2):
        for edge in "abcdefgh":
            rack.offer(Frame(edge, key))
    for _ in range(80):
        rack.turn()
    round_s = 2 * FRAME_S * (1 + 4) / 2  # two batches of four serve the eight once
    for edge in "abcdefgh":
        assert rack.held_s[edge][-1] + FRAME_S == pytest.approx(round_s)


def test_the_wait_that_two_frames_of_one_batch_had_is_shared() -> None:
    """So that the mean over frames is what each costs the edge's throughput."""
    rack = Rack(scheduler())
    mine, theirs = Key(2), Key()
    rack.offer(Frame("other", theirs))
    rack.queue.next(rack.now)
    rack.offer(Frame("own", mine))
    rack.offer(Frame("own", mine))
    rack.now += 0.04
    rack.queue.done(rack.now, [0.04])
    rack.turn(again=False)
    assert rack.held_s["own"] == pytest.approx([0.02, 0.02])


def test_an_idle_cloud_keeps_nobody_waiting() -> None:
    """Nothing waits, nothing runs: no wait, however busy it was before."""
    rack = Rack(scheduler())
    for _ in range(5):
        rack.offer(Frame("a"))
    while rack.queue.waiting:
        rack.turn(again=False)
    assert rack.queue.wait("b", rack.now) == Wait(0.0, 0.0)
    assert rack.queue.retry_s("b", rack.now) == pytest.approx(FRAME_S)


def test_the_frame_that_runs_is_waited_for_to_its_end() -> None:
    """By what such frames took before; an edge does not wait for its own."""
    rack = Rack(scheduler())
    rack.offer(Frame("a"))
    rack.turn()
    rack.queue.next(rack.now)
    assert rack.queue.wait("b", rack.now + 0.004).now_s == pytest.approx(FRAME_S - 0.004)
    assert rack.queue.wait("b", rack.now + 5.0) == Wait(0.0, 0.0)
    assert rack.queue.wait("a", rack.now + 0.004) == Wait(0.0, 0.0)


def test_a_frame_now_and_then_waits_less_than_one_of_an_endless_line() -> None:
    """Eight edges saturate the cloud: a newcomer's first frame is next, its next ones take turns."""
    rack = Rack(scheduler())
    for edge in "abcdefgh" * 2:
        rack.offer(Frame(edge))
    for _ in range(80):
        rack.turn()
    rack.queue.next(rack.now)
    wait = rack.queue.wait("new", rack.now)
    assert wait.now_s <= 2 * FRAME_S
    assert wait.in_line_s == pytest.approx(8 * FRAME_S)


def test_an_edge_with_long_frames_waits_longer_for_its_next() -> None:
    """All get the same time: while one of its frames took four turns, so have the others then before its next."""
    rack = Rack(scheduler())
    long, short = Key(), Key()
    for _ in range(2):
        for edge, key in (("long", long), ("b", short), ("c", short)):
            rack.offer(Frame(edge, key))
    for _ in range(90):
        first = min(rack.queue._edges.items(), key=lambda e: (e[1].served_s, e[1].waiting[0].at))[0]
        rack.turn(4 * FRAME_S if first == "long" else FRAME_S)
    assert rack.queue.wait("long", rack.now).in_line_s == pytest.approx(8 * FRAME_S)
    assert sum(rack.held_s["long"][-10:]) / 10 == pytest.approx(8 * FRAME_S, rel=0.2)
