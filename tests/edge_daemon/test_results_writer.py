"""Facts about how records get to the disk: together, behind the frames' backs, counted when they are safe."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from edge_daemon import results_writer as module
from edge_daemon.frame_counts import FrameEvent, FrameLedger
from edge_daemon.results_file import ResultsFile, ResultsUnavailableError
from edge_daemon.results_scan import Scan
from edge_daemon.results_writer import MOST_PENDING, ResultsWriter
from tests.edge_daemon.records import line, record
from tests.event_loop import run, until

FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.01)


class FakeTarget:
    """Takes batches when the test lets it, or refuses them as the test says."""

    name = "/some/results"
    path: Path | None = None

    def __init__(self) -> None:
        self.found = Scan()
        self.batches: list[bytes] = []
        self.attempts = 0
        self.refusal: BaseException | None = None
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.closed = False

    def commit(self, lines: bytes) -> None:
        self.attempts += 1
        self.may_go_on.wait()
        if self.refusal is not None:
            raise self.refusal
        self.batches.append(lines)

    def free_bytes(self) -> int | None:
        return 4321

    def close(self) -> None:
        self.closed = True


class Desk:
    """A writer with frames that have been processed."""

    def __init__(self, **options: Any) -> None:
        self.target = FakeTarget()
        self.ledger = FrameLedger()
        self.writer = ResultsWriter(self.target, self.ledger, **options)

    async def put(self, *numbers: int, **changes: Any) -> None:
        for number in numbers:
            for event in (FrameEvent.SEEN, FrameEvent.BEGUN, FrameEvent.PROCESSED):
                self.ledger.note(event)
            await self.writer.put(record(number, f"{number}.jpg", **changes))


@asynccontextmanager
async def desk(**options: Any) -> AsyncIterator[Desk]:
    made = Desk(**options)
    yield made
    made.target.may_go_on.set()
    await made.writer.stop(5.0)
    assert made.target.closed


def test_a_frame_counts_when_its_record_is_safe_and_the_next_one_does_not_wait() -> None:
    """While the disk is busy records are taken at once; they are safe together, in one go, in order."""

    async def main() -> None:
        async with desk() as at:
            at.target.may_go_on.clear()
            await at.put(0)
            await until(lambda: at.target.attempts == 1)
            await at.put(1, 2)
            await at.put(3, error="no image", top5=())
            assert (at.ledger.counts.recording, at.ledger.counts.answered) == (4, 0)
            at.target.may_go_on.set()
            await at.writer.flush()
            assert (at.ledger.counts.answered, at.ledger.counts.failed) == (3, 1)
            first, second = at.target.batches
            assert first == line(0)
            assert second.startswith(line(1) + line(2))
            assert second.count(b"\n") == 3

    run(main())


def test_frames_wait_when_too_many_records_are_not_safe() -> None:
    """A disk that takes nothing holds memory down: the next record waits until some are safe."""

    async def main() -> None:
        async with desk() as at:
            at.target.may_go_on.clear()
            await at.put(*range(MOST_PENDING))
            more = asyncio.create_task(at.put(99))
            done, _ = await asyncio.wait([more], timeout=0.05)
            assert not done
            at.target.may_go_on.set()
            await more
            await at.writer.flush()
            assert at.ledger.counts.answered == MOST_PENDING + 1

    run(main())


def test_a_full_disk_is_said_once_and_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    """With path and bytes; another reason is said again; when there is room, all goes on, and that is said."""

    async def main() -> None:
        async with desk() as at:
            at.target.refusal = FULL
            await at.put(0)
            await until(lambda: at.target.attempts > 5)
            assert at.writer.trouble == "No space left on device"
            at.target.refusal = ResultsUnavailableError("another cleave-edge writes to it")
            attempts = at.target.attempts
            await until(lambda: at.target.attempts > attempts + 5)
            at.target.refusal = None
            await at.writer.flush()
            assert at.target.batches == [line(0)]
            assert at.writer.trouble is None
            assert at.ledger.counts.answered == 1

    run(main())
    said = capsys.readouterr().out
    assert said.count("results cannot be written, frames wait") == 2
    assert said.count("results can be written again") == 1
    for part in ("/some/results", "No space left", str(len(line(0))), "4321", "another cleave-edge"):
        assert part in said


def test_where_the_latest_counts_records_without_room_are_dropped(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Frames do not wait for the disk: what finds no room is counted as dropped; later ones are written."""

    async def main() -> None:
        async with desk(drop=True) as at:
            at.target.refusal = FULL
            for number in range(3):
                await at.put(number)
                await at.writer.flush()
            assert at.ledger.counts.dropped_unrecorded == 3
            assert at.target.attempts == 3, "each was tried once"
            at.target.refusal = None
            await at.put(3)
            await at.writer.flush()
            assert at.target.batches == [line(3)]
            assert at.ledger.counts.answered == 1

    run(main())
    said = capsys.readouterr().out
    assert said.count("results cannot be written, frames are dropped") == 1
    assert said.count("results can be written again") == 1


def test_where_the_latest_counts_a_disk_that_hangs_holds_no_frame(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What finds no room is dropped and counted, and it is said once; what had room is written when it goes on."""

    async def main() -> None:
        async with desk(drop=True) as at:
            for round_ in range(1, 3):
                at.target.may_go_on.clear()
                await at.put(*range(MOST_PENDING + 5))
                assert at.ledger.counts.dropped_unrecorded == 5 * round_
                assert at.ledger.counts.recording == at.writer.unwritten == MOST_PENDING
                at.target.may_go_on.set()
                await at.writer.flush()
                assert at.ledger.counts.answered == MOST_PENDING * round_
            assert b"".join(at.target.batches) == b"".join(map(line, range(MOST_PENDING))) * 2

    run(main())
    assert capsys.readouterr().out.count("the disk does not keep up") == 2, "once each time"


def test_where_the_latest_counts_a_bug_is_no_slow_disk() -> None:
    """Whoever finds no room since the thread has failed is told so: nothing would ever be written again."""

    async def main() -> None:
        async with desk(drop=True) as at:
            at.target.may_go_on.clear()
            await at.put(*range(MOST_PENDING))
            at.target.refusal = ZeroDivisionError("a bug")
            at.target.may_go_on.set()
            await until(lambda: at.writer._bug is not None)
            with pytest.raises(ZeroDivisionError):
                await at.put(99)

    run(main())


def test_nobody_reading_a_pipe_is_told_and_nothing_is_waited_for() -> None:
    """`cleave-edge | head` has seen enough: that is no error."""

    async def main() -> None:
        gone = asyncio.Event()
        async with desk(reader_gone=gone.set) as at:
            at.target.refusal = BrokenPipeError(errno.EPIPE, "Broken pipe")
            await at.put(0)
            await gone.wait()
            await at.writer.flush()
            assert at.ledger.counts.recording == 1

    run(main())


def test_a_bug_on_the_thread_reaches_whoever_waits() -> None:
    """A writer that died must not hold frames for ever without a word."""

    async def main() -> None:
        async with desk() as at:
            at.target.refusal = ZeroDivisionError("a bug")
            await at.put(0)
            with pytest.raises(ZeroDivisionError):
                await at.writer.flush()

    run(main())


@pytest.mark.parametrize("way", ["stuck", "full"])
def test_the_end_does_not_wait_for_a_disk_that_does_not_answer(way: str) -> None:
    """A thread that hangs in a system call cannot be ended; one that waits for room can."""

    async def main() -> None:
        async with desk() as at:
            if way == "stuck":
                at.target.may_go_on.clear()
            at.target.refusal = FULL
            await at.put(0)
            await until(lambda: at.target.attempts >= 1)
            await at.writer.stop(0.05)
            assert at.target.closed == (way == "full")

    run(main())


@pytest.mark.parametrize("answers", ["in time", "late"])
def test_what_is_safe_at_the_end_is_counted_and_what_is_later_is_not(
    monkeypatch: pytest.MonkeyPatch, answers: str
) -> None:
    """A frame is answered or left, never both: the disk answers while the end waits for it, or after that."""

    async def main() -> None:
        async with desk() as at:
            at.target.may_go_on.clear()
            await at.put(0)
            await until(lambda: at.target.attempts == 1)
            thread = at.writer._thread
            join = thread.join

            def finish(_: float) -> None:
                at.target.may_go_on.set()
                join()

            with monkeypatch.context() as patch:
                patch.setattr(thread, "join", finish if answers == "in time" else lambda _: None)
                await at.writer.stop(0.3)
            at.ledger.close()
            at.target.may_go_on.set()
            join()
            await asyncio.sleep(0)  # what the thread told would be heard in this turn
            assert at.target.batches == [line(0)]
            counts = at.ledger.counts
            assert (counts.answered, counts.left) == ((1, 0) if answers == "in time" else (0, 1))

    run(main())


def test_many_records_share_one_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a real file with a slow disk: far fewer syncs than records, and every record is in the file."""
    syncs, sync = 0, os.fsync
    first = threading.Event()

    def slow(descriptor: int) -> None:
        nonlocal syncs
        syncs += 1
        first.wait()
        sync(descriptor)

    async def main() -> None:
        target = ResultsFile(tmp_path / "r")
        monkeypatch.setattr(os, "fsync", slow)
        ledger = FrameLedger()
        writer = ResultsWriter(target, ledger)
        for number in range(MOST_PENDING):
            for event in (FrameEvent.SEEN, FrameEvent.BEGUN, FrameEvent.PROCESSED):
                ledger.note(event)
            await writer.put(record(number, f"{number}.jpg"))
        first.set()
        await writer.flush()
        await writer.stop(5.0)
        assert ledger.counts.answered == MOST_PENDING

    run(main())
    assert (tmp_path / "r").read_bytes() == b"".join(line(number) for number in range(MOST_PENDING))
    assert syncs <= 2, "one for those that had come when the thread woke, one for all others"
