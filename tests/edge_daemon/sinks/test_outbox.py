"""Facts about the outbox: taking never waits, batches come in order, and everything is said once."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from common.files import write_all
from edge_daemon.sinks import outbox as module
from edge_daemon.sinks import spool as spool_module
from edge_daemon.sinks import spool_segment
from edge_daemon.sinks.spool import SpoolBound
from edge_daemon.sinks.spool_position import write_position
from edge_daemon.sinks.spool_segment import Segment
from tests.edge_daemon.records import line
from tests.edge_daemon.sinks.boxes import outbox, running
from tests.edge_daemon.sinks.letters import letters, number_of, numbers
from tests.event_loop import run, until


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.02)


def test_what_is_taken_comes_out_in_order(tmp_path: Path) -> None:
    """In batches as large as asked for, each again until it is confirmed."""

    async def main() -> None:
        async with running(outbox(tmp_path)) as box:
            box.take(letters(0, 1))
            box.take(letters(2))
            await until(lambda: box.status().spooled_records == 3 and not box._taken and not box._moving)
            assert numbers(await box.next(2, 10_000)) == [0, 1]
            batch = await box.next(2, 10_000)
            assert numbers(batch) == [0, 1]
            await box.sent(batch)
            await box.sent(await box.next(2, 10_000))
            status = box.status()
            assert (status.sent, status.spooled_records, status.spooled_bytes, box.came) == (3, 0, 0, 3)

    run(main())


def test_whoever_asks_waits_for_something_to_come(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(outbox(tmp_path)) as box:
            waiting = asyncio.create_task(box.next(5, 10_000))
            await asyncio.sleep(0.01)
            assert not waiting.done()
            box.take(letters(7))
            assert numbers(await waiting) == [7]

    run(main())


def test_what_was_not_sent_is_there_at_the_next_start(tmp_path: Path) -> None:
    """Also what was taken and had not reached the disk when the run ended."""

    async def main() -> None:
        async with running(outbox(tmp_path)) as box:
            box.take(letters(0, 1, 2))
            await box.sent(await box.next(1, 10_000))
            box.take(letters(3))
        async with running(outbox(tmp_path)) as box:
            assert [number_of(one) for one in (await box.next(9, 10_000)).messages] == [1, 2, 3]

    run(main())


def test_what_only_the_results_have_is_filled_in_before_what_comes(tmp_path: Path) -> None:
    """The daemon was killed between the two: nothing is lost, and nothing doubled."""
    results = tmp_path / "r"
    results.touch()

    async def main() -> None:
        async with running(outbox(tmp_path, results=results)) as box:
            await until(lambda: (tmp_path / "spool" / "position.json").exists())
        results.write_bytes(line(0) + line(1))
        box = outbox(tmp_path, results=results)
        box.take(letters(2))
        async with running(box):
            await until(lambda: box._spool.records == 3)
            assert [number_of(one) for one in (await box.next(9, 10_000)).messages] == [0, 1, 2]

    run(main())


def test_a_disk_that_hangs_costs_memory_up_to_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taking returns at once; beyond the bound the oldest is dropped and counted; the end comes all the same."""
    monkeypatch.setattr(module, "MOST_TAKEN_BYTES", 300)
    go = threading.Event()

    async def main() -> None:
        box = outbox(tmp_path)
        hanging = asyncio.create_task(box.disk.run(go.wait))
        task = asyncio.create_task(box.run())
        for number in range(100):
            box.take(letters(number))
            await asyncio.sleep(0)
        status = box.status()
        assert status.dropped + status.spooled_records == 100
        assert 5 < status.spooled_records < 30
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await box.close(0.05)
        go.set()
        await hanging

    run(main())


def test_a_spool_that_cannot_be_written_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its records are sent from memory; when it can be written again, that is said, too."""

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def main() -> None:
        async with running(outbox(tmp_path)) as box:
            monkeypatch.setattr(spool_segment, "write_all", full)
            for number in range(4):
                box.take(letters(number))
                batch = await box.next(9, 10_000)
                assert numbers(batch) == [number]
                await box.sent(batch)
            assert box.status().last_error == "spool: No space left on device"
            monkeypatch.setattr(spool_segment, "write_all", write_all)
            box.take(letters(4))
            await until(lambda: box.status().last_error is None)

    run(main())
    said = capsys.readouterr().out
    assert said.count("the spool cannot be written") == 1
    assert said.count("the spool can be written again") == 1


@pytest.mark.parametrize("reason", [errno.EMFILE, errno.EIO])
def test_a_spool_that_cannot_be_read_is_read_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], reason: int
) -> None:
    """Whoever asks waits, and so does who has sent; it is said once, and no record is left out or comes twice."""

    def refuse(_: Any) -> None:
        raise OSError(reason, os.strerror(reason))

    async def main() -> None:
        async with running(outbox(tmp_path)) as box:
            box.take(letters(0, 1, 2))
            batch = await box.next(1, 10_000)
            for what in (lambda: box.sent(batch), lambda: box.next(9, 10_000)):
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(Segment, "_pieces", refuse)
                    waiting = asyncio.create_task(what())
                    await until(lambda: box.status().last_error == f"spool: {os.strerror(reason)}")
                    assert not waiting.done()
                found = await waiting
                assert box.status().last_error is None
            assert found is not None
            assert numbers(found) == [1, 2]
            assert box.status().damaged == 0

    run(main())
    said = capsys.readouterr().out
    assert said.count("the spool cannot be read") == 2
    assert said.count("the spool can be read again") == 2


def test_a_position_that_cannot_be_saved_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The disk is full: it is said, what comes is handed out, and the position is saved when it can be."""

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def main() -> None:
        async with running(outbox(tmp_path)) as box:
            monkeypatch.setattr(module, "SAVE_S", 3600.0)
            box.take(letters(0))
            await box.sent(await box.next(1, 10_000))
            monkeypatch.setattr(module, "SAVE_S", 0.0)
            monkeypatch.setattr(spool_module, "write_position", full)
            waiting = asyncio.create_task(box.next(1, 10_000))
            await until(lambda: box.status().last_error == "spool: No space left on device")
            box.take(letters(1))
            assert numbers(await waiting) == [1]
            monkeypatch.setattr(spool_module, "write_position", write_position)
            await until(lambda: box.status().last_error is None)

    run(main())
    said = capsys.readouterr().out
    assert said.count("the spool cannot be written") == 1
    assert said.count("the spool can be written again") == 1


def test_a_spool_that_cannot_be_opened_is_tried_again(tmp_path: Path) -> None:
    """Another edge has it: records wait in memory, and are there when it is free."""

    async def main() -> None:
        async with running(outbox(tmp_path)) as first:
            first.take(letters(0))
            await first.next(1, 100)
            second = outbox(tmp_path)
            task = asyncio.create_task(second.run())
            second.take(letters(1))
            await until(lambda: "another cleave-edge" in (second.status().last_error or ""))
        await until(lambda: second.status().last_error is None)
        await until(lambda: second.status().spooled_records == 2)
        assert numbers(await second.next(9, 10_000)) == [0, 1]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await second.close(5.0)

    run(main())


def test_dropping_is_said_once_an_outage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With how many; again after everything was sent, and it happens again."""

    async def main() -> None:
        async with running(outbox(tmp_path, bound=SpoolBound(10**6, 16))) as box:
            for round_ in range(2):
                for start in range(0, 64, 8):
                    box.take(letters(*range(start, start + 8)))
                    await until(lambda: not box._taken and not box._moving)
                assert box.status().dropped >= 40 * (round_ + 1)
                while box.status().spooled_records:
                    await box.sent(await box.next(9, 10_000))

    run(main())
    assert capsys.readouterr().out.count("the oldest are dropped") == 2


def test_a_receiver_that_is_away_is_said_once_for_each_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def main() -> None:
        async with running(outbox(tmp_path)) as box:
            box.reached()
            for reason in ("refused", "no route", "refused", "refused", "no route"):
                box.away(reason)
            assert (box.status().connected, box.status().last_error) == (False, "no route")
            box.reached()
            box.reached()
            assert (box.status().connected, box.status().last_error) == (True, None)
            box.away("refused")

    run(main())
    said = capsys.readouterr().out
    assert (said.count("receiver away"), said.count("receiver reached")) == (3, 2)


def test_the_end_waits_for_what_a_receiver_that_is_there_has_yet_to_take(tmp_path: Path) -> None:
    """And for nothing if it is away."""

    async def main() -> None:
        async with running(outbox(tmp_path)) as box:
            box.away("not there yet")
            box.take(letters(0))
            await box.emptied()
            box.reached()
            waiting = asyncio.create_task(box.emptied())
            await asyncio.sleep(0.01)
            assert not waiting.done()
            await box.sent(await box.next(9, 10_000))
            await waiting
            box.take(letters(1))
            waiting = asyncio.create_task(box.emptied())
            await asyncio.sleep(0)
            box.away("gone")
            await waiting

    run(main())
