"""Facts about which frames run next: by queues and a clock alone."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from cloud_daemon.frame_lines import Wait
from cloud_daemon.frame_scheduler import EXPECTED_S, FORGIVEN_EVERY_S, FrameScheduler, shares
from common import limits
from tests.cloud_daemon.scheduler_rack import FRAME_S, Frame, Key, Rack, scheduler


def test_nothing_waits_nothing_runs() -> None:
    """An empty queue gives an empty turn."""
    turn = scheduler().next(1.0)
    assert (turn.batch, turn.late, turn.again_at) == ((), (), None)


@pytest.mark.parametrize("most", [1, 4])
def test_an_edge_with_many_frames_starves_none_with_one(most: int) -> None:
    """Edges in a closed loop, one with four frames in flight, the others with one: all get the same."""
    rack = Rack(scheduler())
    key = Key(most)
    for edge in ("greedy", "b", "c", "d", "e"):
        for _ in range(limits.MAX_IN_FLIGHT if edge == "greedy" else 1):
            rack.offer(Frame(edge, key))
    for _ in range(200):
        rack.turn()
    least, mean = min(rack.served.values()), sum(rack.served.values()) / 5
    assert least >= 0.9 * mean, rack.served


def test_fair_shares_are_of_time_and_not_of_frames() -> None:
    """An edge whose frames take four times as long gets a quarter as many."""
    rack = Rack(scheduler())
    slow, quick = Key(), Key()
    for edge, key in (("slow", slow), ("quick", quick)):
        for _ in range(4):
            rack.offer(Frame(edge, key))
    for _ in range(200):
        first = min((e for e in rack.queue._edges.items()), key=lambda e: e[1].served_s)[0]
        rack.turn(4 * FRAME_S if first == "slow" else FRAME_S)
    assert rack.served["quick"] == pytest.approx(4 * rack.served["slow"], rel=0.1)


@pytest.mark.parametrize("most", [1, 8])
def test_a_stall_of_the_machine_is_not_charged_to_the_edge_that_met_it(most: int) -> None:
    """Two seconds in one batch cost nobody more than a dozen frames of 64 edges each, not two seconds of each."""
    rack, key = Rack(scheduler()), Key(most)
    edges = [f"edge {number}" for number in range(64)]
    for edge in edges:
        rack.offer(Frame(edge, key))
    for _ in range(128):
        rack.turn()
    rack.turn(took_s=2.0)
    stalled_at, last = rack.now, dict.fromkeys(edges, rack.now)
    longest_s = 0.0
    while rack.now < stalled_at + 150.0:
        for frame in rack.turn():
            longest_s = max(longest_s, rack.now - last[frame.edge])
            last[frame.edge] = rack.now
    assert longest_s < 12 * FRAME_S * len(edges)


def test_frames_that_have_become_dearer_are_charged_in_full_soon() -> None:
    """A hundred times dearer, and still no more than half of the time goes to them."""
    rack = Rack(scheduler())
    cost_s = {"dearer": FRAME_S, "same": FRAME_S}
    used_s = {"dearer": 0.0, "same": 0.0}
    for edge in cost_s:
        rack.offer(Frame(edge))
    for number in range(10_000):
        if number == 100:
            cost_s["dearer"] *= 100
        edge = min(rack.queue._edges.items(), key=lambda e: (e[1].served_s, e[1].waiting[0].at))[0]
        assert rack.turn(cost_s[edge])[0].edge == edge
        used_s[edge] += cost_s[edge]
    assert used_s["dearer"] == pytest.approx(used_s["same"], rel=0.1)


def test_a_dear_frame_among_cheap_ones_is_paid_for() -> None:
    """Eight cheap frames and one a hundred times dearer, for ever, and it gets no more of the time than another."""
    rack, number = Rack(scheduler()), 0
    used_s = {"mixed": 0.0, "same": 0.0}
    for edge in used_s:
        rack.offer(Frame(edge))
    while sum(used_s.values()) < 1_000.0:
        edge = min(rack.queue._edges.items(), key=lambda e: (e[1].served_s, e[1].waiting[0].at))[0]
        number += edge == "mixed"
        took_s = 100 * FRAME_S if edge == "mixed" and number % 9 == 0 else FRAME_S
        assert rack.turn(took_s)[0].edge == edge
        used_s[edge] += took_s
    forgiven_s = 100 * FRAME_S / FORGIVEN_EVERY_S  # in each second
    assert used_s["mixed"] < used_s["same"] + forgiven_s * 1_000.0


def test_a_batchs_time_is_divided_by_what_its_frames_take_alone() -> None:
    """A photo of fifty megapixels, decoded in one batch with thumbnails, is its own edge's time."""
    assert shares(0.6, [0.1, 0.5]) == pytest.approx([0.1, 0.5])
    assert shares(0.3, [0.1, 0.5]) == pytest.approx([0.05, 0.25])
    assert shares(0.3, [0.0, 0.0, 0.0]) == pytest.approx([0.1, 0.1, 0.1]), "nothing is known of any"
    queue, key = scheduler(), Key(2)
    for edge in ("large", "small"):
        queue.offer(Frame(edge, key), 10.0)
    queue.next(10.0)
    queue.done(10.3, [0.5, 0.1])
    assert queue._edges["large"].served_s == pytest.approx(5 * queue._edges["small"].served_s)


def test_a_modest_edge_is_served_next_under_a_saturating_one() -> None:
    """Whoever sends now and then waits for the frame that runs, and for no queue."""
    rack = Rack(scheduler())
    for _ in range(4):
        rack.offer(Frame("saturating"))
    for _ in range(10):
        for _ in range(5):
            rack.turn()
        rack.offer(Frame("modest"))
        assert [frame.edge for frame in rack.turn(again=False)] == ["modest"]


def test_a_pause_earns_no_credit() -> None:
    """An edge that was silent for a minute comes back level with the others: they go on in turns."""
    rack = Rack(scheduler())
    for _ in range(4):
        rack.offer(Frame("busy"))
    rack.offer(Frame("silent"))
    rack.turn(again=False)
    for _ in range(100):
        rack.turn()
    for _ in range(4):
        rack.offer(Frame("silent"))
    rack.served.clear()
    for _ in range(12):
        rack.turn()
    assert abs(rack.served["busy"] - rack.served["silent"]) <= 2, rack.served


# --- batches ------------------------------------------------------------------------------------------------
def test_a_batch_takes_from_each_edge_before_it_takes_twice() -> None:
    """Four places, three edges, of which one has four frames: one of each, and a second of the oldest."""
    rack = Rack(scheduler())
    key = Key(4)
    for edge in ("a", "a", "a", "a", "b", "c"):
        rack.offer(Frame(edge, key))
    assert Counter(frame.edge for frame in rack.turn(again=False)) == Counter("aabc")


def test_only_frames_of_one_key_run_together() -> None:
    """Another model, another cut: another batch; an edge's frames of the old plan and the new are two keys."""
    rack = Rack(scheduler())
    old, new = Key(8), Key(8)
    for edge, key in (("a", old), ("b", new), ("a", new), ("b", old)):
        rack.offer(Frame(edge, key))
    first, second = rack.turn(again=False), rack.turn(again=False)
    assert {frame.key for frame in first} == {old}
    assert {frame.key for frame in second} == {new}
    assert [len(first), len(second)] == [2, 2]


def test_a_batch_is_as_large_as_is_good_and_as_allowed() -> None:
    """What the key says is best for the frames that are there, and at most BATCH_MAX of them."""
    for most, batch_max, expected in ((2, 8, 2), (8, 3, 3), (8, 1, 1)):
        rack = Rack(scheduler(batch_max))
        key = Key(most)
        for edge in "abcde":
            rack.offer(Frame(edge, key))
        assert len(rack.turn(again=False)) == expected


def test_what_is_best_is_asked_for_at_the_time_it_is() -> None:
    """By the clock that the queue is told: how old a measurement is, is a matter of that."""
    asked: list[float] = []

    class Asked(Key):
        def best(self, available: int, now: float) -> int:
            asked.append(now)
            return 1

    queue = scheduler()
    queue.offer(Frame("a", Asked()), 5.0)
    queue.next(7.0)
    assert asked == [7.0]


def test_a_batch_is_waited_for_only_while_somebody_else_may_send() -> None:
    """Another edge has just sent a frame of this key: look again in time. Nobody else has: run at once."""
    key = Key(2)
    alone = scheduler(wait_s=0.005)
    alone.offer(Frame("a", key), 10.0)
    assert len(alone.next(10.0).batch) == 1
    assert key.wanted == [1], "nothing is to be learnt for frames that nobody sends"

    def second_of_two(last_of_b: float, now: float) -> FrameScheduler[Frame]:
        queue = scheduler(wait_s=0.005)
        queue.offer(Frame("b", key), last_of_b)
        queue.next(last_of_b)
        queue.done(last_of_b + 0.001, [0.001])
        queue.offer(Frame("a", key), now)
        return queue

    queue = second_of_two(10.0, 10.1)
    turn = queue.next(10.1)
    assert key.wanted[-1] == 2
    assert (turn.batch, turn.again_at) == ((), 10.105)
    assert len(queue.next(10.105).batch) == 1, "it did not come"
    queue = second_of_two(10.0, 10.1)
    queue.offer(Frame("b", key), 10.102)
    assert len(queue.next(10.102).batch) == 2, "it came"
    assert len(second_of_two(10.0, 10.1 + EXPECTED_S).next(10.1 + EXPECTED_S).batch) == 1, "long silent"


# --- places, deadlines --------------------------------------------------------------------------------------
def test_late_frames_are_dropped_before_any_work() -> None:
    """Each is told; those in time run."""
    queue = scheduler()
    queue.offer(Frame("a", deadline=10.5, number=1), 10.0)
    queue.offer(Frame("a", number=2), 10.0)
    queue.offer(Frame("b", deadline=10.9, number=3), 10.0)
    turn = queue.next(11.0)
    assert sorted(frame.number for frame in turn.late) == [1, 3]
    assert [frame.number for frame in turn.batch] == [2]


def test_a_full_queue_makes_room_for_an_edge_that_waits_with_less() -> None:
    """The edge with most frames loses its youngest; one that has as many as the others is refused."""
    queue = scheduler(places=6)
    for number in range(3):
        for edge in ("a", "b"):
            assert queue.offer(Frame(edge, number=number), 10.0 + number).taken
    offer = queue.offer(Frame("late", number=0), 20.0)
    assert offer.taken
    assert offer.displaced is not None
    assert (offer.displaced.edge, offer.displaced.number) == ("a", 2)
    second = queue.offer(Frame("late", number=1), 20.0)
    assert second.taken
    assert second.displaced is not None
    assert (second.displaced.edge, second.displaced.number) == ("b", 2)
    for edge in ("a", "b", "late"):
        assert not queue.offer(Frame(edge), 21.0).taken
    assert queue.held == 6


def test_an_edge_that_goes_leaves_nothing() -> None:
    """Its frames are forgotten, also while one of them runs; the others go on."""
    rack = Rack(scheduler())
    key = Key(2)
    for edge in ("a", "b", "a"):
        rack.offer(Frame(edge, key))
    assert len(rack.queue.next(rack.now).batch) == 2
    rack.queue.gone("a")
    assert len(rack.queue.done(rack.now + 0.01, [0.01, 0.01])) == 2
    assert rack.queue.held == 0
    assert rack.queue.wait("b", rack.now + 0.02) == Wait(0.0, 0.0)


@pytest.mark.parametrize("seed", range(5))
def test_what_is_counted_is_what_waits_whatever_comes_and_goes(seed: int) -> None:
    """Frames come, are displaced, late, run, and go with their edges: none is lost, none is run late or twice."""
    choose = random.Random(seed)
    keys = [Key(1), Key(3), Key(8)]
    queue: FrameScheduler[Frame] = scheduler(places=12)
    waiting: list[Frame] = []
    now = 100.0
    for number in range(2_000):
        now += choose.random()
        what = choose.random()
        if what < 0.7:
            frame = Frame(choose.choice("abcde"), choose.choice(keys), now + 20 * choose.random(), number)
            offer = queue.offer(frame, now)
            waiting += [frame] if offer.taken else []
            if offer.displaced is not None:
                waiting.remove(offer.displaced)
        elif what < 0.97:
            turn = queue.next(now)
            assert {f.number for f in turn.late} == {f.number for f in waiting if f.deadline < now}
            for frame in turn.late + turn.batch:
                waiting.remove(frame)
            assert len({frame.key for frame in turn.batch}) <= 1
            if turn.batch:
                queue.done(now, [FRAME_S] * len(turn.batch))
        else:
            edge = choose.choice("abcde")
            queue.gone(edge)
            waiting = [frame for frame in waiting if frame.edge != edge]
        assert queue.waiting == queue.held == len(waiting)
