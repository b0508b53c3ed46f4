"""Facts about what the edge remembers of files it has taken: enough that none is taken twice, and no more."""

from __future__ import annotations

from edge_daemon.frame import ImageFile
from edge_daemon.taken_files import FORGET_AFTER_S, Listing, TakenFiles

HERE, ELSEWHERE = (8, 1), (9, 2)


def file(number: int) -> ImageFile:
    return ImageFile(f"{number}.jpg", 10, number)


def listing(*numbers: int, place: tuple[int, int] = HERE) -> Listing:
    return Listing(place, frozenset(file(number) for number in numbers))


def test_a_camera_that_writes_for_months_fills_no_memory() -> None:
    """Of files that come, are taken and go, as many are remembered as came in the time before one is forgotten."""
    taken = TakenFiles(set())
    most = 0
    for second in range(5_000):
        taken.saw(listing(second), float(second))
        assert file(second) not in taken
        taken.add(file(second))
        most = max(most, len(taken))
    assert most <= FORGET_AFTER_S + 2


def test_what_is_there_is_never_forgotten() -> None:
    """Whether it was taken in this run or has its record from one before."""
    taken = TakenFiles({file(1)})
    taken.saw(listing(1, 2), 0.0)
    taken.add(file(2))
    for now in (100.0, 10_000.0, 1e9):
        taken.saw(listing(1, 2), now)
    assert file(1) in taken
    assert file(2) in taken


def test_what_is_not_listed_for_a_moment_is_not_forgotten() -> None:
    """Listings of network shares may lag behind; and each absence is counted from its own beginning."""
    taken = TakenFiles({file(1), file(2)})
    for now in range(0, 1_000, 30):
        taken.saw(listing(1, 2) if now % 60 else listing(2), float(now))
        assert file(1) in taken
    taken.saw(listing(2), 1_000.0)
    taken.saw(listing(2), 1_000.0 + FORGET_AFTER_S)
    assert file(1) not in taken
    assert file(2) in taken


def test_a_share_that_is_not_mounted_is_not_an_empty_one() -> None:
    """Not at the start, nor in between: when it is back, its files have their records still."""
    taken = TakenFiles({file(1)})
    for now in (0.0, 1_000.0):
        taken.saw(listing(place=ELSEWHERE), now)
    assert file(1) in taken
    taken.saw(listing(1, 2), 1_001.0)
    taken.add(file(2))
    for now in (1_002.0, 5_000.0):
        taken.saw(listing(place=ELSEWHERE), now)
    assert file(1) in taken
    assert file(2) in taken


def test_a_name_that_cannot_be_looked_at_keeps_only_itself() -> None:
    """Though it never can be: all else that is gone is forgotten, and its own minute begins when it can."""
    taken = TakenFiles({file(1), file(2), file(3)})
    unknown = frozenset({"2.jpg"})
    for now in (0.0, FORGET_AFTER_S, 10_000.0):
        taken.saw(Listing(HERE, frozenset({file(3)}), unknown), now)
    assert [file(number) in taken for number in (1, 2, 3)] == [False, True, True]
    taken.saw(listing(3), 10_001.0)
    assert file(2) in taken
    taken.saw(listing(3), 10_001.0 + FORGET_AFTER_S)
    assert file(2) not in taken


def test_a_directory_that_was_replaced_is_the_new_one() -> None:
    """Once files are taken from it, those of the old one are forgotten like all that are gone."""
    taken = TakenFiles({file(1)})
    taken.saw(listing(1), 0.0)
    taken.saw(listing(2, place=ELSEWHERE), 10.0)
    taken.add(file(2))
    taken.saw(listing(2, place=ELSEWHERE), 20.0)
    taken.saw(listing(2, place=ELSEWHERE), 20.0 + FORGET_AFTER_S)
    assert file(1) not in taken
    assert file(2) in taken
