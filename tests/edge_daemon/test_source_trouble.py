"""Facts about a source whose disk is in trouble: no file is blamed for it, and one bad file stops nothing."""

from __future__ import annotations

import asyncio
import builtins
import errno
import os
import threading
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import watchfiles

from edge_daemon import image_file, image_reader, unread_files
from edge_daemon import source as module
from edge_daemon.image_file import Image, any_can_be_read, read_image
from edge_daemon.source import DirectorySource
from edge_daemon.source_state import SourceCondition
from edge_daemon.unread_files import UnreadFiles
from tests.edge_daemon.source_run import END, Run, VirtualTime, file_of, names, put
from tests.event_loop import run, until


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_AGAIN_MS", 20)
    monkeypatch.setattr(module, "READ_AGAIN_S", 0.001)
    monkeypatch.setattr(module, "STABLE_S", 0.05)


class Disk:
    """Opens no file in `broken`, and counts the tries."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
        self.broken: set[str] = set()
        self.tries: dict[str, int] = {}
        self._number = number
        self._open, self._os_open = builtins.open, os.open
        monkeypatch.setattr(image_file, "open", self._guarded, raising=False)
        monkeypatch.setattr(os, "open", self._os_guarded)

    def _guarded(self, path: Any, *arguments: Any, **options: Any) -> Any:
        self._check(path)
        return self._open(path, *arguments, **options)

    def _os_guarded(self, path: Any, *arguments: Any, **options: Any) -> int:
        self._check(path)
        return self._os_open(path, *arguments, **options)

    def _check(self, path: Any) -> None:
        name = os.path.basename(os.fspath(path)) if isinstance(path, str | Path) else ""
        self.tries[name] = self.tries.get(name, 0) + 1
        if name in self.broken:
            raise OSError(self._number, os.strerror(self._number))


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EMFILE, errno.ETIMEDOUT])
def test_a_disk_that_cannot_be_read_is_waited_for_and_costs_no_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    """However long: nothing is recorded of a file for what is not its fault; it is said once, and when it is over."""
    monkeypatch.setattr(unread_files, "PATIENCE_S", 0.0)
    put(tmp_path, "a.jpg", "b.jpg")
    disk = Disk(monkeypatch, number)
    disk.broken = {"a.jpg", "b.jpg"}

    async def main() -> None:
        source = Run(tmp_path)
        running = asyncio.create_task(source.to_the_end())
        await until(lambda: disk.tries.get("b.jpg", 0) >= 5)
        state = source.source.state
        assert (state.condition, state.last_error) == (SourceCondition.WAITING, os.strerror(number))
        assert source.queue.empty()
        disk.broken = set()
        frames = await running
        assert sorted(names(frames)) == ["a.jpg", "b.jpg"]
        assert [frame.error for frame in frames] == [None, None]
        assert [frame.number for frame in frames] == [0, 1]
        assert source.source.state.condition is SourceCondition.FLOWING

    run(main())
    said = capsys.readouterr().out
    assert said.count("waiting until they can be") == 1
    assert said.count("no file waits to be read again") == 1


@pytest.mark.parametrize("before", [True, False], ids=["taken before", "taken in the run"])
def test_a_file_that_cannot_be_read_though_others_can_fails_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    """A bad sector does not keep the run from its end, also where nothing but that file is left to do."""
    monkeypatch.setattr(unread_files, "PATIENCE_S", 0.0)
    put(tmp_path, "a.jpg", "b.jpg")
    disk = Disk(monkeypatch, errno.EIO)
    disk.broken = {"a.jpg"}

    async def main() -> None:
        source = Run(tmp_path, done={file_of(tmp_path / "b.jpg")} if before else set())
        frames = await source.to_the_end()
        assert names(frames) == (["a.jpg"] if before else ["b.jpg", "a.jpg"])
        assert "could not be read for" in (frames[-1].error or "")
        assert "Input/output error" in (frames[-1].error or "")

    run(main())


def test_a_disk_that_fails_anew_puts_no_file_at_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that could not be read for a moment, an hour ago, is not to be blamed when nothing can be read now."""
    monkeypatch.setattr(unread_files, "PATIENCE_S", 0.0)
    put(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    disk = Disk(monkeypatch, errno.EIO)
    disk.broken = {"a.jpg"}

    async def main() -> None:
        source = Run(tmp_path)
        running = asyncio.create_task(source.to_the_end())
        judge, rounds = UnreadFiles.judge, 0

        def judging(self: UnreadFiles, others_can_be_read: bool, now: float) -> None:
            nonlocal rounds
            rounds += 1
            judge(self, others_can_be_read, now)
            if rounds == 1:  # a long round is over, in which others were read, and now the disk fails
                disk.broken = {"a.jpg", "b.jpg", "c.jpg"}

        monkeypatch.setattr(UnreadFiles, "judge", judging)
        await until(lambda: rounds >= 5)
        disk.broken = set()
        frames = await running
        assert (names(frames), frames[-1].error) == (["b.jpg", "c.jpg", "a.jpg"], None)

    run(main())


def test_a_file_that_cannot_be_read_where_no_other_is_has_no_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing tells whether it is the disk; taken away, it holds the run no longer."""
    monkeypatch.setattr(unread_files, "PATIENCE_S", 0.0)
    put(tmp_path, "a.jpg")
    disk = Disk(monkeypatch, errno.EIO)
    disk.broken = {"a.jpg"}

    async def main() -> None:
        source = Run(tmp_path)
        running = asyncio.create_task(source.to_the_end())
        await until(lambda: disk.tries.get("a.jpg", 0) >= 5)
        assert not running.done()
        (tmp_path / "a.jpg").unlink()
        assert await running == []

    run(main())


def test_between_rounds_that_took_nothing_there_is_a_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails at once is no reason to keep a core busy."""
    put(tmp_path, "a.jpg")
    disk = Disk(monkeypatch, errno.EIO)
    disk.broken = {"a.jpg"}
    waits: list[float] = []

    async def wait(event: asyncio.Event, seconds: float) -> bool:
        waits.append(seconds)
        await asyncio.sleep(0)
        if len(waits) == 3:
            disk.broken = set()
        return False

    monkeypatch.setattr(module, "_set_within", wait)
    monkeypatch.setattr(module, "READ_AGAIN_S", 7.0)

    async def main() -> None:
        assert names(await Run(tmp_path).to_the_end()) == ["a.jpg"]

    run(main())
    assert waits == [7.0] * 3
    assert disk.tries["a.jpg"] >= 4


def test_a_file_that_cannot_be_read_takes_no_sample_s_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a sampling rate the next file is read at once instead, however often the bad one is tried."""
    monkeypatch.setattr(unread_files, "PATIENCE_S", 0.0)
    put(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    Disk(monkeypatch, errno.EIO).broken = {"a.jpg"}
    clock = VirtualTime(monkeypatch)
    began = clock.now

    async def main() -> None:
        frames = await Run(tmp_path, sampling_fps=4.0).to_the_end()
        assert names(frames) == ["b.jpg", "c.jpg", "a.jpg"]
        assert [frame.seen_at - began for frame in frames[:2]] == pytest.approx([0.0, 0.25])

    run(main())


def test_the_newest_is_waited_for_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the latest counts, a disk in trouble costs what became old meanwhile, and no failed frame."""
    put(tmp_path, "a.jpg")
    disk = Disk(monkeypatch, errno.ESTALE)
    disk.broken = {"a.jpg"}

    async def main() -> None:
        source = Run(tmp_path, latest_only=True)
        running = asyncio.create_task(source.to_the_end())
        await until(lambda: disk.tries.get("a.jpg", 0) >= 2)
        put(tmp_path, "b.jpg")
        os.utime(tmp_path / "b.jpg", (4e9, 4e9))
        frames = await running
        assert (names(frames), frames[0].error) == (["b.jpg"], None)
        assert source.ledger.counts.dropped_stale == 1

    run(main())


@pytest.mark.parametrize("grouped", [False, True], ids=["no watch to be had", "a watch that ends"])
def test_a_directory_that_cannot_be_watched_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], grouped: bool
) -> None:
    """Where no inotify instance is free `watchfiles` raises an error of its own; files are taken all the same."""
    attempts = 0

    async def awatch(*_: Any, **__: Any) -> AsyncGenerator[set[Any], None]:
        nonlocal attempts
        attempts += 1
        error = RuntimeError("Too many open files (os error 24)")
        raise ExceptionGroup("of a task group", [error]) if grouped else error
        yield set()

    monkeypatch.setattr(watchfiles, "awatch", awatch)

    async def main() -> None:
        async with Run(tmp_path, exit_when_drained=False).going() as source:
            await until(lambda: attempts >= 3)
            put(tmp_path, "a.jpg")
            assert (await source.next()).origin.name == "a.jpg"

    run(main())
    said = capsys.readouterr().out
    assert said.count("cannot be watched") == said.count("Too many open files") == 1


@pytest.mark.parametrize("hanging", ["read_image", "_look"])
def test_a_share_that_hangs_holds_neither_the_stop_nor_the_end_of_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hanging: str
) -> None:
    """A hard mount waits for its server for ever: the run is cancelled, and nobody waits for its thread."""
    put(tmp_path, "a.jpg")
    hangs, released = threading.Event(), threading.Event()
    came_back: list[bool] = []

    def hang(*_: object) -> None:
        hangs.set()
        came_back.append(released.wait(20.0))  # for ever, but a test that fails should end

    monkeypatch.setattr(image_reader if hanging == "read_image" else DirectorySource, hanging, hang)

    async def main() -> None:
        source = Run(tmp_path)
        running = asyncio.create_task(source.source.run(source.stop))
        await until(hangs.is_set)
        source.stop.set()
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled()

    run(main())  # it waits for asyncio's own threads, as the daemon's end does
    assert came_back == []
    released.set()


class Halting:
    """A file of which the disk gives a part, and then no more."""

    def __init__(self, path: Path, then: int | OSError) -> None:
        self._file = path.open("rb", buffering=0)
        self._then = then
        self._reads = 0

    def __enter__(self) -> Halting:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def fileno(self) -> int:
        return self._file.fileno()

    def readinto(self, data: memoryview) -> int:
        self._reads += 1
        if self._reads == 1:
            return self._file.readinto(data[:3])
        if isinstance(self._then, OSError):
            raise self._then
        return self._file.readinto(data) if self._then else 0


def test_a_file_is_read_to_its_end_in_however_many_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails amid a file gives a part first: that is no short file, and the error comes with the rest."""
    put(tmp_path, "a.jpg")
    found = file_of(tmp_path / "a.jpg")
    then: int | OSError = 1
    monkeypatch.setattr(image_file, "open", lambda path, *_, **__: Halting(path, then), raising=False)
    image = read_image(tmp_path, found)
    assert image is not None
    assert (bytes(image.data), image.error) == (b"image" + END, None)
    then = 0
    image = read_image(tmp_path, found)
    assert image is not None
    assert image.error == f"only 3 of its {found.size} bytes could be read"
    then = OSError(errno.EIO, "Input/output error")
    with pytest.raises(OSError, match="Input/output"):
        read_image(tmp_path, found)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENAMETOOLONG])
def test_what_is_the_files_own_fault_is_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Waiting would not mend it."""
    put(tmp_path, "a.jpg")
    Disk(monkeypatch, number).broken = {"a.jpg"}
    assert read_image(tmp_path, file_of(tmp_path / "a.jpg")) == Image(
        error=f"the file cannot be read: {os.strerror(number)}"
    )


def test_one_file_that_gives_a_byte_shows_that_files_can_be_read(tmp_path: Path) -> None:
    """An empty one shows nothing, nor one that is not there."""
    (tmp_path / "empty").touch()
    put(tmp_path, "a.jpg")
    assert not any_can_be_read([tmp_path / "empty", tmp_path / "nothing", tmp_path])
    assert any_can_be_read([tmp_path / "empty", tmp_path / "a.jpg"])
    assert not any_can_be_read([])
