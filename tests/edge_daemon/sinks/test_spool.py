"""Facts about the spool: in order, bounded, and whole after kills, power cuts, full disks and garbage."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.files import write_all
from edge_daemon.sinks import spool as module
from edge_daemon.sinks import spool_segment
from edge_daemon.sinks.spool import Batch, Spool, SpoolBound
from edge_daemon.sinks.spool_segment import Segment
from tests.edge_daemon.sinks.letters import drain, letter, letters, numbers

WIDE = SpoolBound(1_000_000, 100_000)
FULL = OSError(errno.ENOSPC, "No space left on device")


def spool_in(directory: Path, bound: SpoolBound = WIDE, *, synced: bool = False, last_id: str = "") -> Spool:
    spool = Spool(directory, bound, synced=synced)
    spool.open("results", lambda: last_id)
    return spool


def again(spool: Spool, results: str = "results") -> tuple[Spool, tuple[str, ...]]:
    """What a daemon finds that starts after the present one was killed, and the marks it fills up from."""
    spool.close()  # as the kernel does for a process that is gone
    found = Spool(spool.directory, spool._bound, synced=False)
    return found, found.open(results, lambda: letter(99).id)


def segments(spool: Spool) -> list[Path]:
    return spool_segment.segment_paths(spool.directory)


def test_messages_come_out_in_the_order_they_went_in(tmp_path: Path) -> None:
    """In batches of at most so many, or so many bytes; what is not confirmed comes again."""
    spool = spool_in(tmp_path)
    spool.put(letters(0, 1, 2))
    spool.put(letters(3))
    assert numbers(spool.peek(2, 10_000)) == [0, 1]
    first = spool.peek(3, 10_000)
    assert numbers(first) == [0, 1, 2]
    spool.confirm(first)
    assert numbers(spool.peek(10, 10_000)) == [3]
    assert numbers(spool.peek(10, 1)) == [3], "one is given, however long"
    spool.put(letters(4, 5))
    assert numbers(spool.peek(10, 150)) == [3, 4]
    assert drain(spool) == [3, 4, 5]
    assert (spool.records, spool.nbytes, spool.dropped, spool.damaged) == (0, 0, 0, 0)


def test_a_batch_says_that_it_is_full(tmp_path: Path) -> None:
    """By messages or by bytes: waiting for others would not make it larger."""
    spool = spool_in(tmp_path)
    spool.put(letters(0, 1, 2))
    size = spool.nbytes // 3
    for most, most_bytes, count, full in (
        (4, 10_000, 3, False),
        (3, 10_000, 3, True),
        (2, 10_000, 2, True),
        (4, 3 * size, 3, True),
        (4, 3 * size + 1, 3, False),
        (4, 3 * size - 1, 2, True),
        (4, 1, 1, True),
    ):
        batch = spool.peek(most, most_bytes)
        assert (len(batch.messages), batch.full) == (count, full), (most, most_bytes)


def test_an_empty_spool_gives_nothing(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    assert spool.peek(5, 100) == Batch(0)


def test_what_was_spooled_is_there_after_a_kill(tmp_path: Path) -> None:
    """Without what was confirmed and saved; the fill-up goes on after the youngest."""
    spool = spool_in(tmp_path)
    spool.put(letters(*range(10)))
    spool.confirm(spool.peek(4, 10_000))
    spool.save()
    found, marks = again(spool)
    assert marks[0] == letter(9).id
    assert drain(found) == [4, 5, 6, 7, 8, 9]
    found.put(letters(10))
    found.confirm(found.peek(1, 100))
    found.save()
    found, marks = again(found)
    assert (marks[0], found.records) == (letter(10).id, 0)


def test_what_was_confirmed_and_not_saved_comes_again_after_a_kill(tmp_path: Path) -> None:
    """Twice rather than never: the receiver knows it by its id."""
    spool = spool_in(tmp_path)
    spool.put(letters(0, 1, 2))
    spool.save()
    spool.confirm(spool.peek(2, 10_000))
    found, _ = again(spool)
    assert drain(found) == [0, 1, 2]


def test_a_new_spool_begins_with_what_comes(tmp_path: Path) -> None:
    """What was in the results before is not sent; what comes between its beginning and a kill is, in any case."""
    spool = Spool(tmp_path / "new" / "spool", WIDE, synced=False)
    assert spool.open("results", lambda: letter(7).id) == ()
    _, marks = again(spool)
    assert letter(7).id in marks


def test_other_results_are_followed_from_now_on(tmp_path: Path) -> None:
    """What waits from the former ones is still sent."""
    spool = spool_in(tmp_path)
    spool.put(letters(0, 1))
    found, marks = again(spool, "other results")
    assert marks == ()
    assert found.records == 2
    found, marks = again(found, "other results")
    assert marks == (letter(1).id, "", letter(99).id), "the first of them that is in the file counts"
    assert drain(found) == [0, 1]


def test_two_daemons_cannot_have_one_spool(tmp_path: Path) -> None:
    """The second one is told so, and writes nothing; what it has waits in memory."""
    spool = spool_in(tmp_path)
    spool.put(letters(0))
    other = Spool(tmp_path, WIDE, synced=False)
    with pytest.raises(OSError, match="another cleave-edge"):
        other.open("results", lambda: "")
    with pytest.raises(OSError, match="not open"):
        other.put(letters(1))
    other.save()
    assert (other.records, len(segments(spool))) == (1, 1)
    spool.close()
    other.open("results", lambda: "")
    other.put()
    assert drain(other) == [0, 1]


@pytest.mark.parametrize(
    ("bound", "counts"),
    [(SpoolBound(1_000_000, 32), 32), (SpoolBound(3_000, 1_000), 45)],
    ids=["records", "bytes"],
)
def test_beyond_the_bound_the_oldest_are_dropped_and_counted(
    tmp_path: Path, bound: SpoolBound, counts: int
) -> None:
    """Never before it is reached, and never more than a segment too many; the disk holds no more either."""
    spool = spool_in(tmp_path, bound)
    for number in range(200):
        spool.put(letters(number))
        assert spool.records <= bound.records
        assert spool.nbytes <= bound.nbytes
        if number < counts // 2:
            assert spool.dropped == 0
    on_disk = sum(path.stat().st_size for path in segments(spool))
    assert on_disk <= bound.nbytes + bound.segment_bytes
    kept = drain(spool)
    assert kept == list(range(200 - len(kept), 200))
    assert len(kept) + spool.dropped == 200
    assert len(kept) >= 0.7 * min(bound.records, bound.nbytes // 62)


def test_what_is_dropped_on_its_way_disturbs_nothing(tmp_path: Path) -> None:
    """A batch that was handed out before its messages were dropped is confirmed without taking younger ones off."""
    spool = spool_in(tmp_path, SpoolBound(1_000_000, 16))
    spool.put(letters(*range(16)))
    batch = spool.peek(4, 10_000)
    spool.put(letters(*range(16, 24)))
    assert spool.dropped == 8
    spool.confirm(batch)
    assert drain(spool) == list(range(8, 24))


@pytest.mark.parametrize("change", ["one begins", "one goes"])
def test_it_can_be_added_up_while_files_come_and_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """The event loop says how much waits at any moment, also while the thread begins a file or removes one."""
    spool = spool_in(tmp_path, SpoolBound(1_000_000, 16))  # one message a file
    spool.put(letters(0, 1, 2))
    files, size = segments(spool), spool.nbytes
    turns = iter([True])

    def overtaken(segment: Segment) -> int:
        if next(turns, False):
            if change == "one begins":
                spool.put(letters(3))
            else:
                spool.confirm(spool.peek(1, 10_000))
        return segment.end - segment.start

    monkeypatch.setattr(Segment, "nbytes", property(overtaken))
    assert 0 < spool.nbytes <= size, "as it was, or less by what has gone"
    assert segments(spool) != files


def test_a_full_disk_keeps_messages_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They can be sent from there, in order; with room again they are written; no file is left empty."""
    spool = spool_in(tmp_path)
    spool.put(letters(0))

    def full(descriptor: int, data: bytes) -> None:
        os.write(descriptor, data[:5])
        raise FULL

    monkeypatch.setattr(spool_segment, "write_all", full)
    for number in range(1, 5):
        with pytest.raises(OSError, match="No space"):
            spool.put(letters(number))
    assert spool.records == 5
    assert len(segments(spool)) == 1
    batch = spool.peek(3, 10_000)
    assert numbers(batch) == [0, 1, 2]
    spool.confirm(batch)
    batch = spool.peek(1, 10_000)
    monkeypatch.setattr(spool_segment, "write_all", write_all)
    spool.put(letters(5))
    spool.confirm(batch)
    assert numbers(spool.peek(9, 10_000)) == [4, 5], "confirmed wherever it was by then"
    found, _ = again(spool)
    assert drain(found)[-2:] == [4, 5]


def test_memory_is_bounded_while_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is on the disk stays; of what is in memory the oldest is dropped."""
    monkeypatch.setattr(module, "MOST_MEMORY_BYTES", 1_000)
    spool = spool_in(tmp_path)
    spool.put(letters(0, 1))

    def full(*_: Any) -> None:
        raise FULL

    monkeypatch.setattr(spool_segment, "write_all", full)
    for number in range(2, 50):
        with pytest.raises(OSError, match="No space"):
            spool.put(letters(number))
    kept = drain(spool)
    assert kept[:2] == [0, 1]
    assert kept[2:] == list(range(50 - len(kept) + 2, 50))
    assert 10 < len(kept) < 20
    assert spool.dropped == 50 - len(kept)


def test_what_fsync_refused_is_not_followed_by_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the spool is the only memory it is synced; a refusal begins a new file, and nothing is there twice."""
    spool = spool_in(tmp_path, synced=True)
    spool.put(letters(0))
    sync = os.fsync

    def refuse(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="Input/output"):
        spool.put(letters(1))
    monkeypatch.setattr(os, "fsync", sync)
    spool.put(letters(2))
    found, _ = again(spool)
    assert drain(found) == [0, 1, 2]


def test_a_torn_last_line_is_cut_off(tmp_path: Path) -> None:
    """The kill came in its middle: the results fill it up."""
    spool = spool_in(tmp_path)
    spool.put(letters(0, 1))
    (path,) = segments(spool)
    with path.open("ab") as file:
        file.write(spool_segment.line_of(letter(2))[:-3])
    found, marks = again(spool)
    assert marks[0] == letter(1).id
    assert drain(found) == [0, 1]
    assert found.damaged == 0


@pytest.mark.parametrize(
    "garbage", [b"\0" * 40, b"\xff\n\xfe\n", b"garbage\n"], ids=["zeros", "lines", "text"]
)
@pytest.mark.parametrize("line", [0, 1, 4])
def test_garbage_costs_the_messages_it_lies_on(tmp_path: Path, garbage: bytes, line: int) -> None:
    """What is sound around it is sent, in order, and the rest is counted."""
    spool = spool_in(tmp_path)
    spool.put(letters(*range(5)))
    (path,) = segments(spool)
    content = path.read_bytes()
    at = line * len(content) // 5
    path.write_bytes(content[:at] + garbage + content[at + len(garbage) :])
    found, _ = again(spool)
    got = drain(found)
    assert got == sorted(got)
    assert set(range(5)) - {line} - set(got) <= {line + 1}
    assert line not in got
    assert found.damaged >= 1
    found.put(letters(5))
    assert drain(found) == [5]


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"segment": -1}', b"\xff", b"[" * 10_000])
def test_a_damaged_position_sends_again_and_loses_nothing(tmp_path: Path, content: bytes) -> None:
    """It is put aside, and said."""
    spool = spool_in(tmp_path)
    spool.put(letters(0, 1))
    spool.confirm(spool.peek(1, 100))
    spool.save()
    (tmp_path / "position.json").write_bytes(content)
    found, marks = again(spool)
    if content != b"{}":  # a position of another spool, whole
        assert marks[0] == letter(1).id
        assert (tmp_path / "position.json.damaged").exists()
    assert drain(found) == [0, 1]


def test_a_position_that_points_into_a_line_is_not_believed(tmp_path: Path) -> None:
    """The whole file is sent again then."""
    spool = spool_in(tmp_path)
    spool.put(letters(0, 1, 2))
    spool.confirm(spool.peek(1, 100))
    spool.save()
    position = (tmp_path / "position.json").read_text()
    line = len(spool_segment.line_of(letter(0)))
    (tmp_path / "position.json").write_text(position.replace(f'"offset": {line}', f'"offset": {line + 3}'))
    found, _ = again(spool)
    assert drain(found) == [0, 1, 2]


def test_files_that_vanish_stop_nothing(tmp_path: Path) -> None:
    """Somebody cleans up: what was there is lost and counted, and what comes is spooled again."""
    spool = spool_in(tmp_path / "spool")
    spool.put(letters(0, 1))
    for path in (tmp_path / "spool").iterdir():
        path.unlink()
    (tmp_path / "spool").rmdir()
    with pytest.raises(OSError, match="No such file"):
        spool.put(letters(2))
    spool.put(letters(3))
    assert drain(spool) == [2, 3]
    assert spool.damaged == 2


def unreadable(patch: pytest.MonkeyPatch, reason: int, *paths: Path) -> None:
    """Have reading these files fail until the patch is undone."""
    pieces = Segment._pieces

    def refuse(segment: Segment) -> Iterator[bytes]:
        if segment.path in paths:
            raise OSError(reason, os.strerror(reason))
        return pieces(segment)

    patch.setattr(Segment, "_pieces", refuse)


@pytest.mark.parametrize("reason", [errno.EMFILE, errno.EIO, errno.ESTALE])
def test_what_cannot_be_read_for_a_moment_is_not_lost(tmp_path: Path, reason: int) -> None:
    """Neither giving nor confirming takes anything off meanwhile; what is older and can be read is given."""
    spool = spool_in(tmp_path, SpoolBound(1_000_000, 32))  # two a file
    spool.put(letters(*range(6)))
    with pytest.MonkeyPatch.context() as patch:
        unreadable(patch, reason, *segments(spool)[1:])
        batch = spool.peek(9, 10_000)
        assert numbers(batch) == [0, 1]
        spool.confirm(batch)
        with pytest.raises(OSError, match=os.strerror(reason)):
            spool.peek(9, 10_000)
    batch = spool.peek(3, 10_000)
    assert numbers(batch) == [2, 3, 4]
    with pytest.MonkeyPatch.context() as patch:
        unreadable(patch, reason, *segments(spool))
        with pytest.raises(OSError, match=os.strerror(reason)):
            spool.confirm(batch)
        assert spool.records == 4, "all or none"
    spool.confirm(batch)
    assert drain(spool) == [5]
    assert (spool.damaged, spool.dropped) == (0, 0)


def test_what_is_confirmed_as_a_whole_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = spool_in(tmp_path)
    spool.put(letters(0, 1))
    batch = spool.peek(9, 10_000)
    unreadable(monkeypatch, errno.EIO, *segments(spool))
    spool.confirm(batch)
    assert (spool.records, spool.nbytes) == (0, 0)


@pytest.mark.parametrize("given", [0, 1])
def test_what_follows_what_was_given_up_is_sent(tmp_path: Path, given: int) -> None:
    """In the same file, which was damaged before or amid its sending, and can be written to all the same."""
    spool = spool_in(tmp_path)
    spool.put(letters(0, 1))
    before = spool.peek(1, 10_000)
    with pytest.MonkeyPatch.context() as patch:
        unreadable(patch, errno.EBADMSG, *segments(spool))
        spool.confirm(before if given else spool.peek(9, 10_000))
    assert (spool.records, spool.nbytes, spool.damaged) == (0, 0, 2 - given)
    spool.put(letters(2, 3))
    assert len(segments(spool)) == 1
    assert drain(spool, 1) == [2, 3]
    assert spool.damaged == 2 - given


@pytest.mark.parametrize("reason", [errno.EMFILE, errno.ESTALE])
def test_a_file_that_cannot_be_read_at_the_start_is_waited_for(tmp_path: Path, reason: int) -> None:
    """No descriptor is left, say: it is sound, and is not put aside."""
    spool = spool_in(tmp_path)
    spool.put(letters(0, 1))
    spool.close()
    found = Spool(tmp_path, WIDE, synced=False)
    with pytest.MonkeyPatch.context() as patch:
        unreadable(patch, reason, *segments(spool))
        with pytest.raises(OSError, match=os.strerror(reason)):
            found.open("results", lambda: "")
    found.open("results", lambda: "")
    assert drain(found) == [0, 1]


def test_a_file_that_is_none_is_put_aside(tmp_path: Path) -> None:
    """A directory where a segment should be does not keep the spool from opening."""
    (tmp_path / "0000000003.spool").mkdir()
    spool = spool_in(tmp_path)
    spool.put(letters(0))
    assert drain(spool) == [0]


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    """Only what has a segment's name is one."""
    for name in ("notes.txt", "x.spool", "0000000001.spool.damaged"):
        (tmp_path / name).write_text("hello")
    spool = spool_in(tmp_path)
    assert spool.records == 0
    assert (tmp_path / "x.spool").read_text() == "hello"
