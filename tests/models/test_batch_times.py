"""Facts about which batch sizes are used, by what they were measured to take."""

from __future__ import annotations

import pytest

from models.batch_times import LONGEST_MS, RECENT, BatchTimes, batch_sizes


def measured(**ms: float) -> BatchTimes:
    times = BatchTimes()
    for size, value in ms.items():
        times.add(int(size[1:]), value)
    return times


def test_sizes_are_powers_of_two_up_to_the_most() -> None:
    """Few sizes to measure, and never more than half of a queue left out."""
    assert [batch_sizes(most) for most in (1, 2, 7, 8)] == [(1,), (1, 2), (1, 2, 4), (1, 2, 4, 8)]


def test_frames_run_one_by_one_until_more_is_measured() -> None:
    """Nothing measured, or one frame only: one."""
    assert BatchTimes().best(8) == 1
    assert measured(_1=5.0).best(8) == 1


@pytest.mark.parametrize(("available", "size"), [(1, 1), (2, 2), (3, 2), (4, 4), (7, 4), (8, 4), (99, 4)])
def test_the_size_of_least_time_per_frame_is_used(available: int, size: int) -> None:
    """Of the sizes that the frames there make; here eight at a time are slower than four."""
    assert measured(_1=10.0, _2=14.0, _4=20.0, _8=60.0).best(available) == size


def test_a_larger_batch_must_be_worth_its_wait() -> None:
    """A per cent less per frame is no reason to keep the first frame waiting."""
    assert measured(_1=10.0, _2=19.9).best(2) == 1
    assert measured(_1=10.0, _2=19.0).best(2) == 2


def test_no_batch_takes_longer_than_others_can_be_kept_waiting() -> None:
    """However well it does; a single frame takes what it takes."""
    assert measured(_1=LONGEST_MS, _2=LONGEST_MS + 1).best(2) == 1
    assert measured(_1=2 * LONGEST_MS).best(2) == 1


def test_a_size_that_has_become_slow_is_left() -> None:
    """By the median of its latest runs: once may be a hiccup."""
    times = BatchTimes()
    for _ in range(RECENT):
        times.add(1, 10.0)
        times.add(2, 12.0)
    times.add(2, 90.0)
    assert times.best(2) == 2
    for _ in range(RECENT):
        times.add(2, 90.0)
    assert times.best(2) == 1


def test_a_size_that_has_failed_is_not_used_again() -> None:
    """Nor a larger one: what has no memory for eight frames has none for sixteen."""
    times = measured(_1=10.0, _2=12.0, _4=14.0, _8=16.0)
    times.refuse(4)
    assert times.best(8) == 2


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
        times.add(size, 10.0 * size**0.5)
    assert times.best(8) == 8
    times.add_before(100.0)
    assert times.best(8) == 2
    times = BatchTimes()
    times.add(1, 10.0)
    times.add_before(1000.0)
    assert times.best(8) == 1, "one is always possible"
