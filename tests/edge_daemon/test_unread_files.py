"""Facts about files that could not be read: tried again as long as it may be the disk, and no longer."""

from __future__ import annotations

from edge_daemon.frame import ImageFile
from edge_daemon.unread_files import FAILURES_IN_A_ROW, PATIENCE_S, Trouble, UnreadFiles, trouble_of

A, B, C = (ImageFile(f"{name}.jpg", 10, 1) for name in "abc")


def test_what_has_failed_is_tried_behind_the_others_the_longest_ago_first() -> None:
    """So that bad files, however many, hold up no good one; and what is gone is forgotten."""
    unread = UnreadFiles()
    assert unread.begin([A, B, C]) == [A, B, C]
    for file in (B, A):
        assert not unread.failed(file, 0.0)
    assert unread.begin([A, B, C]) == [C, B, A]
    assert not unread.failed(B, 1.0)
    assert unread.begin([A, B, C]) == [C, A, B]
    unread.read(A)
    assert unread.begin([A, B]) == [A, B]
    unread.begin([])
    assert unread.begin([A, B]) == [A, B]


def test_a_file_is_at_fault_after_a_minute_in_which_others_could_be_read() -> None:
    """And then only if it cannot be read once more: the disk may have been away just while it was tried."""
    unread = UnreadFiles()
    for now in (0.0, PATIENCE_S - 1.0, PATIENCE_S):
        unread.begin([A])
        assert not unread.failed(A, now)
        assert unread.failures == 1
        unread.judge(True, now)
    unread.begin([A])
    assert unread.failed(A, PATIENCE_S + 1.0)
    unread.blame(A)
    assert unread.failures == 0


def test_a_disk_that_cannot_be_read_puts_no_file_at_fault() -> None:
    """However long it takes; and each file has its whole minute when the disk is back."""
    unread = UnreadFiles()
    for now in (0.0, 59.0, 60.0, 1_000.0):
        unread.begin([A, B])
        assert not unread.failed(A, now)
        assert not unread.failed(B, now)
        unread.judge(False, now)
    unread.begin([A, B])
    unread.read(B)
    assert not unread.failed(A, 1_001.0)
    unread.judge(True, 1_001.0)
    unread.begin([A])
    assert not unread.failed(A, 1_059.0)


def test_what_seemed_to_be_at_fault_is_not_once_the_disk_is_seen_to_be() -> None:
    """A verdict that was not carried out yet falls with the next round in which nothing can be read."""
    unread = UnreadFiles()
    for now, others in ((0.0, True), (PATIENCE_S, True)):
        unread.begin([A, B])
        unread.failed(A, now)
        unread.judge(others, now)
    unread.begin([A, B])
    unread.failed(B, 61.0)
    unread.judge(False, 61.0)
    unread.begin([A, B])
    assert not unread.failed(A, 62.0)


def test_a_round_in_which_nothing_can_be_read_ends_early() -> None:
    """Each try may take a share's time-out; one success, and all further files are tried."""
    unread = UnreadFiles()
    files = [ImageFile(f"{number}.jpg", 10, 1) for number in range(2 * FAILURES_IN_A_ROW)]
    unread.begin(files)
    for file in files[: FAILURES_IN_A_ROW - 1]:
        unread.failed(file, 0.0)
    assert not unread.hopeless
    unread.read(A)
    assert not unread.hopeless
    for file in files[:FAILURES_IN_A_ROW]:
        unread.failed(file, 0.0)
    assert unread.hopeless
    unread.begin(files)
    assert not unread.hopeless


def test_what_is_at_fault_is_told_by_what_can_be_read() -> None:
    """Nothing, the files, or the disk under all of them."""
    assert trouble_of(0, False) is Trouble.NONE
    assert trouble_of(3, True) is Trouble.FILES
    assert trouble_of(3, False) is Trouble.DISK
