"""Facts about which batch sizes are used, by what they were measured to take."""

from __future__ import annotations

import pytest

from models.batch_times import LONGEST_MS, RECENT, STALE_S, BatchTimes, batch_sizes

NOW = 100.0


def measured(**ms: float) -> BatchTimes:
    times = BatchTimes()
    for size, value in ms.items():
        times.add(int(size[1:]), value, NOW)
    return times


def test_sizes_are_powers_of_two_up_to_the_most() -> None:
    """Few sizes to measure, and never more than half of a queue left out."""
    assert [batch_sizes(most) for most in (1, 2, 7, 8)] == [(1,), (1, 2), (1, 2, 4), (1, 2, 4, 8)]


def test_frames_run_one_by_one_until_more_is_measured() -> None:
    """Nothing measured, or one frame only: one."""
    assert BatchTimes().best(8, NOW) == 1
    assert measured(_1=5.0).best(8, NOW) == 1


@pytest.mark.parametrize(("available", "size"), [(1, 1), (2, 2), (3, 2), (4, 4), (7, 4), (8, 4), (99, 4)])
def test_the_size_of_least_time_per_frame_is_used(available: int, size: int) -> None:
    """Of the sizes that the frames there make; here eight at a time are slower than four."""
    assert measured(_1=10.0, _2=14.0, _4=20.0, _8=60.0).best(available, NOW) == size


def test_a_larger_batch_must_be_worth_its_wait() -> None:
    """A per cent less per frame is no reason to keep the first frame waiting."""
    assert measured(_1=10.0, _2=19.9).best(2, NOW) == 1
    assert measured(_1=10.0, _2=19.0).best(2, NOW) == 2


def test_no_batch_takes_longer_than_others_can_be_kept_waiting() -> None:
    """However well it does; a single frame takes what it takes."""
    assert measured(_1=LONGEST_MS, _2=LONGEST_MS + 1).best(2, NOW) == 1
    assert measured(_1=2 * LONGEST_MS).best(2, NOW) == 1


def test_a_size_that_has_become_slow_is_left() -> None:
    """By the median of its latest runs: once may be a hiccup."""
    times = BatchTimes()
    for _ in range(RECENT):
        times.add(1, 10.0, NOW)
        times.add(2, 12.0, NOW)
    times.add(2, 90.0, NOW)
    assert times.best(2, NOW) == 2
    for _ in range(RECENT):
        times.add(2, 90.0, NOW)
    assert times.best(2, NOW) == 1


def test_a_size_that_has_failed_is_not_used_again() -> None:
    """Nor a larger one: what has no memory for eight frames has none for sixteen."""
    times = measured(_1=10.0, _2=12.0, _4=14.0, _8=16.0)
    times.refuse(4)
    assert times.best(8, NOW) == 2


def test_a_size_of_which_nothing_new_is_known_is_tried_once() -> None:
    """What was slow a minute ago may be quick now, and only a run tells: from the smallest on, each once."""
    times = measured(_1=10.0, _2=90.0, _4=200.0)
    assert times.best(4, NOW + 0.9 * STALE_S) == 1
    later = NOW + STALE_S
    tried = []
    for ms in (10.0, 12.0, 16.0):
        tried.append(times.best(4, later))
        times.add(tried[-1], ms, later)
    assert tried == [1, 2, 4]
    assert times.best(4, later) == 4
    assert times.ms(4) == 16.0, "what it took before says nothing any more"


def test_a_size_that_is_still_slow_is_left_for_another_minute() -> None:
    """One batch a minute is what it costs to know; the other sizes are used on meanwhile."""
    times = measured(_2=90.0)
    for _ in range(RECENT):
        times.add(1, 10.0, NOW + STALE_S)
    assert times.best(2, NOW + STALE_S) == 2
    times.add(2, 90.0, NOW + STALE_S)
    assert times.best(2, NOW + STALE_S) == 1
    assert times.best(2, NOW + 1.9 * STALE_S) == 1


def test_a_size_that_would_take_too_long_is_not_tried() -> None:
    """By what half of it takes now, with what comes before a batch; nor is one that has failed."""
    later = NOW + STALE_S
    times = measured(_2=LONGEST_MS + 1, _4=10.0)
    times.add(1, LONGEST_MS / 2 + 1, later)
    assert times.best(2, later) == 1
    times = measured(_2=LONGEST_MS + 1)
    times.add(1, 10.0, later)
    assert times.best(2, later) == 2
    times.add_before([LONGEST_MS])
    assert times.best(2, later) == 1
    times = measured(_2=90.0)
    times.add(1, 10.0, later)
    times.refuse(2)
    assert times.best(2, later) == 1


def test_a_frames_share_of_a_batch_is_what_it_takes_alone() -> None:
    """In proportion, so that it follows the machine's present speed; never more than the whole."""
    times = measured(_1=10.0, _4=20.0)
    assert times.alone_share(4) == 0.5
    assert times.alone_share(1) == 1.0
    assert times.alone_share(8) == 1.0, "nothing is known of eight"
    assert measured(_1=30.0, _2=20.0).alone_share(2) == 1.0


def test_what_frames_take_before_the_batch_counts_in_its_length() -> None:
    """Eight images to decode and resize hold the thread up as the network does: no turn is longer than allowed."""
    times = BatchTimes()
    for size in (1, 2, 4, 8):
        times.add(size, 10.0 * size**0.5, NOW)
    assert times.best(8, NOW) == 8
    times.add_before([100.0] * 8)
    assert times.best(8, NOW) == 2
    times = BatchTimes()
    times.add(1, 10.0, NOW)
    times.add_before([1000.0])
    assert times.best(8, NOW) == 1, "one is always possible"
