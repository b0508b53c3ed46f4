"""Facts about frames from a directory: each whole file once, in order, and nothing stops the run."""

from __future__ import annotations

import builtins
import errno
import itertools
import os
import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from common import limits
from common.errors import ConfigurationError
from edge_daemon import image_file
from edge_daemon import source as module
from edge_daemon.frame import ImageFile
from edge_daemon.source import check_directory, next_due
from edge_daemon.taken_files import FORGET_AFTER_S, TakenFiles
from tests.edge_daemon.source_run import END, Run, VirtualTime, file_of, names, put, taken
from tests.event_loop import run, until


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_AGAIN_MS", 50)
    monkeypatch.setattr(module, "STABLE_S", 0.05)


def test_what_is_there_is_taken_once_each_in_the_order_of_names(tmp_path: Path) -> None:
    """However files were written, names decide; numbers count on from the first one given."""
    put(tmp_path, "c.jpg", "a.jpg", "B.png", "b.jpg")
    frames = taken(tmp_path, first_number=7)
    assert names(frames) == ["B.png", "a.jpg", "b.jpg", "c.jpg"]
    assert [frame.number for frame in frames] == [7, 8, 9, 10]
    assert all(bytes(frame.data) == b"image" + END and frame.error is None for frame in frames)
    assert [frame.origin for frame in frames] == [file_of(tmp_path / name) for name in names(frames)]


def test_an_empty_directory_is_drained_at_once(tmp_path: Path) -> None:
    """Nothing there, nothing to wait for."""
    assert taken(tmp_path) == []


def test_files_that_have_their_result_are_skipped(tmp_path: Path) -> None:
    """A file is known by name, size and time; one that was written again is another frame."""
    put(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    done = {file_of(tmp_path / name) for name in ("a.jpg", "b.jpg")}
    put(tmp_path, "b.jpg", content=b"another")
    assert names(taken(tmp_path, done=done)) == ["b.jpg", "c.jpg"]


def test_files_that_are_gone_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that a camera fills and somebody empties for months: the edge remembers what is there."""
    moment = VirtualTime(monkeypatch)

    async def main() -> None:
        run = Run(tmp_path)
        for number in range(50):
            put(tmp_path, f"{number}.jpg")
            ((found,), _) = run.source._look()
            run.source._taken.add(found)
            (tmp_path / found.name).unlink()
            moment.now += FORGET_AFTER_S / 2
        assert len(run.source._taken) <= 3

    run(main())


def test_an_entry_that_never_can_be_looked_at_keeps_no_other_from_being_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link into a place that may not be entered, say, beside which a camera writes for months."""
    moment = VirtualTime(monkeypatch)
    scandir = os.scandir
    barred = SimpleNamespace(name="barred.jpg", is_file=lambda: _fail(errno.EACCES))
    monkeypatch.setattr(os, "scandir", lambda path: [barred, *scandir(path)])

    async def main() -> None:
        run = Run(tmp_path)
        for number in range(20):
            put(tmp_path, f"{number}.jpg")
            ((found,), _) = run.source._look()
            run.source._taken.add(found)
            (tmp_path / found.name).unlink()
            moment.now += FORGET_AFTER_S
        assert len(run.source._taken) <= 3

    run(main())


def test_an_entry_that_cannot_be_looked_at_is_not_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A share in trouble (ESTALE, EIO) tells nothing of what was taken; a link in a circle is no file of ours."""
    moment = VirtualTime(monkeypatch)
    put(tmp_path, "a.jpg")

    async def main() -> None:
        run = Run(tmp_path, done={file_of(tmp_path / "a.jpg")})
        run.source._look()
        scandir = os.scandir
        for number, forgets in ((errno.ESTALE, False), (errno.ELOOP, True)):
            broken = SimpleNamespace(name="a.jpg", is_file=lambda number=number: _fail(number))
            monkeypatch.setattr(os, "scandir", lambda _, broken=broken: [broken])
            for _ in range(3):
                assert run.source._look() == ([], False)
                moment.now += FORGET_AFTER_S
            monkeypatch.setattr(os, "scandir", scandir)
            assert bool(run.source._look()[0]) is forgets

    run(main())


def _fail(number: int) -> bool:
    raise OSError(number, os.strerror(number))


def test_what_arrives_is_taken_in_its_turn(tmp_path: Path) -> None:
    """A file renamed into the directory while the source waits is the next frame; the old ones do not return."""
    put(tmp_path, "b.jpg")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    async def main() -> None:
        async with Run(tmp_path, exit_when_drained=False).going() as source:
            assert (await source.next()).origin.name == "b.jpg"
            for name in ("c.jpg", "a.jpg"):
                put(elsewhere, name, content=name.encode())
                (elsewhere / name).rename(tmp_path / name)
                frame = await source.next()
                assert (frame.origin.name, bytes(frame.data)) == (name, name.encode() + END)
            assert source.queue.empty()

    run(main())


def test_a_half_written_file_is_not_taken_until_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that changed just now and does not end like an image holds nobody up, and is taken when it does."""
    # Time stands still, so that no file is stable.
    still = SimpleNamespace(monotonic=lambda: 1000.0, time=lambda: 0.0, perf_counter=lambda: 1000.0)
    monkeypatch.setattr(module, "time", still)
    half = tmp_path / "a.jpg"
    half.write_bytes(b"first half")
    put(tmp_path, "b.jpg")

    async def main() -> None:
        async with Run(tmp_path, exit_when_drained=True).going() as source:
            assert (await source.next()).origin.name == "b.jpg"
            put(tmp_path, "c.jpg")
            assert (await source.next()).origin.name == "c.jpg", (
                "the source looked again, and left a.jpg alone"
            )
            with half.open("ab") as file:
                file.write(b", second half" + END)
            frame = await source.next()
            assert bytes(frame.data) == b"first half, second half" + END
            assert await source.queue.get() is None, "then it is drained"

    run(main())


@pytest.mark.parametrize("end", [b"\xff\xd9", b"\0\0\0\0IEND\xaeB`\x82"], ids=["jpeg", "png"])
def test_a_whole_image_is_taken_though_just_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: bytes
) -> None:
    """JPEG and PNG show their end, so a whole one is taken without waiting for it to be stable."""
    monkeypatch.setattr(module, "STABLE_S", 1000.0)
    (tmp_path / "a").write_bytes(b"something long" + end)
    assert names(taken(tmp_path)) == ["a"]


def test_any_other_file_is_taken_once_it_is_stable(tmp_path: Path) -> None:
    """A format that shows no end counts when it has not changed for a while, and the run does not end before."""
    (tmp_path / "a.webp").write_bytes(b"RIFF....WEBP")
    assert names(taken(tmp_path)) == ["a.webp"]


def test_files_somebody_is_writing_under_another_name_are_left_alone(tmp_path: Path) -> None:
    """Hidden and temporary names, directories and links to nothing are no frames."""
    put(tmp_path, ".a.jpg", "b.jpg.tmp", "c.jpg.part", "d.jpg~", "e.partial", "f.crdownload", "g.jpg")
    (tmp_path / "h.jpg").mkdir()
    (tmp_path / "i.jpg").symlink_to(tmp_path / "nothing")
    (tmp_path / "j.jpg").symlink_to(tmp_path / "j.jpg")
    put(tmp_path / "h.jpg", "inside.jpg")
    assert names(taken(tmp_path)) == ["g.jpg"]


def test_a_frame_that_cannot_be_read_is_a_frame_with_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Empty, too large, unreadable: each has its place and its reason, and the run goes on."""
    put(tmp_path, "b-large", content=b"x" * 100)
    put(tmp_path, "c-forbidden", "d-fine")
    (tmp_path / "a-empty").touch()
    os.utime(tmp_path / "a-empty", (0, 0))
    monkeypatch.setattr(limits, "MAX_FRAME_BYTES", 50)
    opened = builtins.open

    def guarded(path: Any, *arguments: Any, **options: Any) -> Any:
        if str(path).endswith("c-forbidden"):
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments, **options)

    monkeypatch.setattr(image_file, "open", guarded, raising=False)
    frames = taken(tmp_path)
    assert [frame.error for frame in frames] == [
        "the file is empty",
        "the file has 118 bytes, 50 are allowed",
        "the file cannot be read: Permission denied",
        None,
    ]
    assert [frame.number for frame in frames] == [0, 1, 2, 3]
    assert [bytes(frame.data) for frame in frames[:2]] == [b"", b""]


def test_a_file_that_goes_before_it_is_read_was_never_a_frame(tmp_path: Path) -> None:
    """Somebody may take a file away again; it uses up no number."""
    put(tmp_path, "a.jpg", "b.jpg", "c.jpg", "d.jpg")

    async def main() -> None:
        async with Run(tmp_path, frames_ahead=1).going() as source:
            await until(lambda: source.source._next_number == 2)  # b.jpg was read, and finds no room
            (tmp_path / "c.jpg").unlink()
            found = [await source.next() for _ in range(3)]
            assert [(frame.number, frame.origin.name) for frame in found] == [
                (0, "a.jpg"),
                (1, "b.jpg"),
                (2, "d.jpg"),
            ]
            assert await source.queue.get() is None

    run(main())


def test_a_file_that_changes_before_it_is_read_is_what_it_became(tmp_path: Path) -> None:
    """A file replaced after it was listed was never a frame as it was; it is taken as it is now, once."""
    put(tmp_path, "a.jpg", "b.jpg", "c.jpg")

    async def main() -> None:
        async with Run(tmp_path, frames_ahead=1).going() as source:
            await until(lambda: source.source._next_number == 2)
            (tmp_path / "c.jpg").write_bytes(END)
            found = [await source.next() for _ in range(3)]
            assert [frame.error for frame in found] == [None, None, None]
            assert [frame.origin.name for frame in found] == ["a.jpg", "b.jpg", "c.jpg"]
            assert bytes(found[2].data) == END

    run(main())


def test_a_file_that_changes_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of one image and half of another are no frame."""
    put(tmp_path, "a.jpg")
    identity = image_file._identity
    looks = 0

    def changing(descriptor: int, name: str) -> ImageFile:
        nonlocal looks
        looks += 1
        found = identity(descriptor, name)
        if looks == 1:  # between the look before reading and the one after
            put(tmp_path, "a.jpg", content=b"another one")
        return found

    monkeypatch.setattr(image_file, "_identity", changing)
    (frame,) = taken(tmp_path)
    assert bytes(frame.data) == b"another one" + END
    assert looks == 4


def test_the_source_waits_for_room_and_loses_nothing(tmp_path: Path) -> None:
    """A slow pipeline holds the source back: it reads one frame ahead of the queue, not more."""
    put(tmp_path, *(f"{i:02d}.jpg" for i in range(20)))

    async def main() -> None:
        async with Run(tmp_path, frames_ahead=2).going() as source:
            found = []
            while (frame := await source.queue.get()) is not None:
                found.append(frame)
                assert source.ledger.counts.seen <= len(found) + 3
            assert [frame.number for frame in found] == list(range(20))

    run(main())


def test_a_signal_ends_the_source_wherever_it_is(tmp_path: Path) -> None:
    """Waiting for files or for its rate, it puts the end into the queue soon after the stop."""
    put(tmp_path, "a.jpg", "b.jpg")

    async def main() -> None:
        for options in ({"sampling_fps": 0.001}, {"exit_when_drained": False}):
            source = Run(tmp_path, **options)
            async with source.going():
                assert (await source.next()).origin.name == "a.jpg"
            left = [source.queue.get_nowait() for _ in range(source.queue.qsize())]
            assert left[-1] is None
            assert len(left) <= 2

    run(main())


def test_frames_are_taken_at_the_sampling_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two frames a period passes, whatever is waiting in the directory."""
    put(tmp_path, *(f"{i}.jpg" for i in range(6)))
    VirtualTime(monkeypatch)
    seen = [frame.seen_at for frame in taken(tmp_path, sampling_fps=4.0)]
    assert [later - earlier for earlier, later in itertools.pairwise(seen)] == pytest.approx([0.25] * 5)


def test_after_a_pause_the_source_does_not_hurry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Time that was lost is not made up: after a standstill the rate is kept as before."""
    put(tmp_path, *(f"{i}.jpg" for i in range(6)))
    clock = VirtualTime(monkeypatch)
    add = TakenFiles.add

    def slow(self: TakenFiles, file: ImageFile) -> None:
        add(self, file)
        if file.name == "2.jpg":
            clock.now += 10.0

    monkeypatch.setattr(TakenFiles, "add", slow)
    seen = [frame.seen_at for frame in taken(tmp_path, sampling_fps=4.0)]
    gaps = [later - earlier for earlier, later in itertools.pairwise(seen)]
    assert gaps == pytest.approx([0.25, 0.25, 10.0, 0.25, 0.25])


def test_a_frame_a_little_late_keeps_the_schedule() -> None:
    """Lateness below a period does not add up over the frames."""
    assert next_due(10.0, 10.1, 0.25) == 10.25
    assert next_due(10.0, 10.24, 0.25) == 10.25
    assert next_due(10.0, 10.25, 0.25) == 10.5
    assert next_due(10.0, 70.0, 0.25) == 70.25


def test_the_first_image_is_kept_to_profile_with(tmp_path: Path) -> None:
    """The first frame that could be read, not the first file."""
    (tmp_path / "a").touch()
    put(tmp_path, "b.jpg", content=b"b")
    put(tmp_path, "c.jpg", content=b"c")

    async def main() -> None:
        source = Run(tmp_path)
        await source.to_the_end()
        assert await source.source.first_data == b"b" + END

    run(main())


def test_a_directory_that_goes_for_a_while_is_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A network share that is away for a moment does not end the run."""
    directory = tmp_path / "share"
    directory.mkdir()
    put(directory, "a.jpg")

    async def main() -> None:
        async with Run(directory, exit_when_drained=False).going() as source:
            assert (await source.next()).origin.name == "a.jpg"
            shutil.move(directory, tmp_path / "away")
            put(tmp_path / "away", "b.jpg")
            await until(lambda: "cannot be read" in capsys.readouterr().out)
            state = source.source.state
            assert (state.condition, state.last_error) == ("waiting", "No such file or directory")
            shutil.move(tmp_path / "away", directory)
            assert (await source.next()).origin.name == "b.jpg"

    run(main())


def test_a_source_that_is_no_directory_is_the_operators_error(tmp_path: Path) -> None:
    """A mistyped path is told before anything starts, with what to do."""
    put(tmp_path, "file")
    with pytest.raises(ConfigurationError, match=r"CLEAVE_EDGE_SOURCE=.*nothing: does not exist; create it"):
        check_directory(tmp_path / "nothing")
    with pytest.raises(ConfigurationError, match="file: is not a directory"):
        check_directory(tmp_path / "file")
    check_directory(tmp_path)


def test_a_file_from_the_future_is_taken(tmp_path: Path) -> None:
    """A camera without a clock gives files times to come; they count once they stay as they are."""
    put(tmp_path, "a.webp", content=b"no image's end")
    ahead = time.time() + 3600
    os.utime(tmp_path / "a.webp", (ahead, ahead))
    assert [frame.origin.name for frame in taken(tmp_path)] == ["a.webp"]


def test_a_clock_that_is_set_makes_no_file_look_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that boots in 1970 and learns the time while somebody writes: the half file is not taken."""
    day = SimpleNamespace(now=time.time())
    clock = SimpleNamespace(monotonic=lambda: 1000.0, time=lambda: day.now, perf_counter=lambda: 1000.0)
    monkeypatch.setattr(module, "time", clock)
    half = tmp_path / "a.jpg"
    half.write_bytes(b"first half")

    async def main() -> None:
        async with Run(tmp_path).going() as source:
            await until(lambda: bool(source.source._unripe))
            day.now += 50 * 365 * 86400
            source.source._unripe.clear()
            await until(lambda: bool(source.source._unripe))  # it has looked again
            assert source.queue.empty()
            with half.open("ab") as file:
                file.write(b", second half" + END)
            assert bytes((await source.next()).data) == b"first half, second half" + END

    run(main())


def test_an_idle_source_still_looks_and_one_that_waits_for_the_queue_does_not(tmp_path: Path) -> None:
    """`looks` shows that it is alive: it grows without frames, and rests while nobody takes any."""

    async def main() -> None:
        async with Run(tmp_path, exit_when_drained=False).going() as idle:
            before = idle.source.looks
            await until(lambda: idle.source.looks > before + 2)
        put(tmp_path, "a.jpg", "b.jpg", "c.jpg")
        async with Run(tmp_path, frames_ahead=1).going() as held:
            await until(lambda: held.queue.full() and held.source.looks == 3)  # a look, and two files taken
            assert held.source.looks == 3
            while await held.queue.get() is not None:
                pass

    run(main())
