"""Facts about results on the disk: whole lines, safe before they count, and one daemon at a time."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ConfigurationError
from edge_daemon import results_file as module
from edge_daemon.results_file import ResultsFile, ResultsUnavailableError, open_results
from edge_daemon.results_scan import aside, scan
from tests.edge_daemon.records import file, line


def numbers(path: Path) -> list[str]:
    return sorted(found.name for found in scan(path).answered)


@contextmanager
def opened(path: Path) -> Iterator[ResultsFile]:
    results = ResultsFile(path)
    try:
        yield results
    finally:
        results.close()


def test_a_restart_knows_what_was_answered_and_counts_on(tmp_path: Path) -> None:
    """Records are appended; directories are made; a restart finds the files and the last number."""
    target = tmp_path / "some" / "new" / "results.jsonl"
    with opened(target) as first:
        assert (first.found.answered, first.found.last_number) == (set(), -1)
        first.commit(line(0) + line(5))
    with opened(target) as second:
        assert second.found.answered == {file("0.jpg"), file("5.jpg")}
        assert second.found.last_number == 5
        second.commit(line(6))
    assert target.read_bytes() == line(0) + line(5) + line(6)


@given(st.data())
def test_a_torn_last_line_is_cut_off_and_its_frame_done_again(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Wherever a kill tore the last line, the lines before it stay, and the file is whole lines afterwards."""
    target = tmp_path_factory.mktemp("torn") / "results.jsonl"
    torn = data.draw(st.integers(1, len(line(2)) - 1))
    target.write_bytes(line(0) + line(1) + line(2)[:torn])
    with opened(target) as results:
        assert results.found.answered == {file("0.jpg"), file("1.jpg")}
        results.commit(line(2))
    assert target.read_bytes() == line(0) + line(1) + line(2)


def test_garbage_in_the_middle_is_told_and_kept_aside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The records around it stay and count; what was damaged is in a file beside it, said once with its place."""
    target = tmp_path / "r"
    garbage = b"\0" * 300 + b"\xfe\n"
    target.write_bytes(line(0) + garbage + line(1))
    with opened(target) as results:
        assert results.found.answered == {file("0.jpg"), file("1.jpg")}
        results.commit(line(2))
    assert target.read_bytes() == line(0) + line(1) + line(2)
    assert aside(target).read_bytes() == garbage
    said = capsys.readouterr().out
    assert said.count("results were damaged") == 1
    assert str(len(garbage)) in said
    assert str(aside(target)) in said


def test_damage_that_cannot_be_moved_stays_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without room for a repair the damaged lines stay; new records begin on lines of their own."""

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "cut_out", full)
    target = tmp_path / "r"
    target.write_bytes(line(0) + b"garbage without an end")
    with opened(target) as results:
        results.commit(line(1))
    assert target.read_bytes() == line(0) + b"garbage without an end\n" + line(1)
    assert "cannot be repaired now" in capsys.readouterr().out


def test_records_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """A disk that fills up in the middle of a batch leaves nothing of it; with room again, writing goes on."""
    target = tmp_path / "r"
    with opened(target) as results:
        results.commit(line(0))
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(line(0)) + len(line(1)) + 100, before[1]))
        try:
            with pytest.raises(OSError, match="File too large"):
                results.commit(line(1) + line(2))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert target.read_bytes() == line(0)
        results.commit(line(1) + line(2))
    assert target.read_bytes() == line(0) + line(1) + line(2)


def test_what_fsync_refused_is_written_again_and_not_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel drops pages it could not write and says yes the next time: only writing again helps."""
    target = tmp_path / "r"
    with opened(target) as results:
        with monkeypatch.context() as broken:

            def refuse(*_: Any) -> None:
                raise OSError(errno.EIO, "Input/output error")

            broken.setattr(os, "fsync", refuse)
            with pytest.raises(OSError, match="Input/output"):
                results.commit(line(0))
            broken.setattr(os, "ftruncate", refuse)
            with pytest.raises(OSError, match="Input/output"):
                results.commit(line(0))
        results.commit(line(0))
    assert target.read_bytes() == line(0)


# --- power ----------------------------------------------------------------------------------------------
class PowerCutError(BaseException):
    """The machine stops at this system call."""


class Power:
    """Writes and fsyncs of one file pass through here: what is safe is known, and the power can be cut.

    This is no disk: it shows in what order the daemon asks, and what survives if the disk does what fsync says.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: Path, calls: int = -1) -> None:
        self.path = path
        self.safe = b""
        self.order: list[str] = []
        self.calls_left = calls
        self._write, self._fsync = os.write, os.fsync
        monkeypatch.setattr(os, "write", self.write)
        monkeypatch.setattr(os, "fsync", self.fsync)

    def write(self, descriptor: int, data: Any) -> int:
        if not self._ours(descriptor):
            return self._write(descriptor, data)
        self._pass("write")
        return self._write(descriptor, memoryview(data)[:300])  # a disk may take a part

    def fsync(self, descriptor: int) -> None:
        if os.path.samestat(os.fstat(descriptor), os.stat(self.path.parent)):
            self._pass("fsync directory")
        elif self._ours(descriptor):
            self._pass("fsync")
            self.safe = self.path.read_bytes()

    def _ours(self, descriptor: int) -> bool:
        return self.path.exists() and os.path.samestat(os.fstat(descriptor), os.stat(self.path))

    def _pass(self, call: str) -> None:
        if self.calls_left == 0:
            raise PowerCutError(call)
        self.calls_left -= 1
        self.order.append(call)


def test_a_record_counts_after_write_and_fsync_in_this_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new file's name is made safe first; then each batch is written, then synced, then it counts."""
    power = Power(monkeypatch, tmp_path / "r")
    with opened(tmp_path / "r") as results:
        assert power.order == ["fsync", "fsync directory"]
        for batch in (line(0), line(1) + line(2)):
            power.order.clear()
            results.commit(batch)
            assert power.order[-1] == "fsync"
            assert set(power.order[:-1]) == {"write"}
            assert power.safe == (tmp_path / "r").read_bytes()
            assert power.safe.endswith(batch)


@given(
    batches=st.lists(st.integers(1, 4), min_size=1, max_size=6),
    calls=st.integers(2, 40),
    survives=st.floats(0, 1),
    zeros=st.booleans(),
)
def test_a_power_cut_at_any_system_call_loses_and_doubles_nothing(
    tmp_path_factory: pytest.TempPathFactory, batches: list[int], calls: int, survives: float, zeros: bool
) -> None:
    """Of what was not synced any part may survive, or be zeros: what counted is there, the rest is done once."""
    path = tmp_path_factory.mktemp("power") / "r"
    counted: set[str] = set()
    todo = [f"{number}.jpg" for number in range(sum(batches))]
    with pytest.MonkeyPatch.context() as patch:
        power = Power(patch, path, calls)
        results = ResultsFile(path)
        try:
            at = 0
            for size in batches:
                names = todo[at : at + size]
                results.commit(b"".join(line(int(name[:-4])) for name in names))
                counted |= set(names)
                at += size
        except PowerCutError:
            pass
        results.close()
    unsafe = path.read_bytes()[len(power.safe) :]
    assert path.read_bytes().startswith(power.safe)
    kept = unsafe[: round(len(unsafe) * survives)]
    path.write_bytes(power.safe + (b"\0" * len(kept) if zeros else kept))
    with opened(path) as again:
        answered = {found.name for found in again.found.answered}
        assert counted <= answered
        for name in todo:
            if name not in answered:
                again.commit(line(int(name[:-4])))
    records = Counter(
        text.split(b'"name": "')[1].split(b'"')[0].decode() for text in path.read_bytes().splitlines()
    )
    assert records == Counter(todo)


# --- somebody takes it away ------------------------------------------------------------------------------
def test_a_file_that_is_moved_away_or_deleted_is_begun_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who rotates logs finds whole lines in the old file, the next ones in a new one: none goes to nowhere."""
    target = tmp_path / "r"
    with opened(target) as results:
        results.commit(line(0))
        target.rename(tmp_path / "r.1")
        results.commit(line(1))
        assert (numbers(tmp_path / "r.1"), numbers(target)) == (["0.jpg"], ["1.jpg"])
        target.unlink()
        results.commit(line(2))
        assert numbers(target) == ["2.jpg"]
    assert capsys.readouterr().out.count("deleted or moved away") == 2


def test_a_directory_that_goes_is_waited_for(tmp_path: Path) -> None:
    """Nothing is written into a directory nobody sees; when it is back, the file is continued."""
    target = tmp_path / "results" / "r"
    with opened(target) as results:
        results.commit(line(0))
        shutil.move(tmp_path / "results", tmp_path / "away")
        for _ in range(2):
            with pytest.raises(OSError, match="its directory is gone"):
                results.commit(line(1))
        shutil.move(tmp_path / "away", tmp_path / "results")
        results.commit(line(1))
    assert numbers(target) == ["0.jpg", "1.jpg"]


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_is_full_at_the_start_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: int
) -> None:
    """It is nobody's mistake: what is there is known, and written is when there is room."""
    target = tmp_path / "r"
    target.write_bytes(line(0))
    with monkeypatch.context() as full:
        opener = os.open

        def refuse(path: Any, flags: int, *mode: Any) -> int:
            if flags & os.O_CREAT and Path(path) == target:
                raise OSError(reason, os.strerror(reason))
            return opener(path, flags, *mode)

        full.setattr(os, "open", refuse)
        results = ResultsFile(target)
        assert results.found.answered == {file("0.jpg")}
        with pytest.raises(OSError, match=os.strerror(reason)):
            results.commit(line(1))
    results.commit(line(1))
    results.close()
    assert target.read_bytes() == line(0) + line(1)


def test_two_daemons_cannot_write_to_one_file(tmp_path: Path) -> None:
    """The second one is told whose fault it is; when the first has ended, however it did, the file is free."""
    target = tmp_path / "r"
    code = (
        "import sys, time; from pathlib import Path; from edge_daemon.results_file import ResultsFile\n"
        f"held = ResultsFile(Path({str(target)!r})); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline().endswith(b"held\n")
        with pytest.raises(ResultsUnavailableError, match="another cleave-edge writes to it"):
            open_results(str(target))
        other.kill()
    with opened(target) as results:
        results.commit(line(0))


# --- what is no file -------------------------------------------------------------------------------------
def test_a_dash_is_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    """Results can be piped; closing leaves stdout open."""
    target = open_results("-")
    target.commit(line(3))
    target.close()
    print("still open")
    assert capfd.readouterr().out.encode() == line(3) + b"still open\n"
    assert not sys.stdout.closed


def test_a_device_can_take_results() -> None:
    """What is no file has nothing to continue, and nothing is cut off it."""
    target = open_results("/dev/null")
    target.commit(line(0))
    target.close()
    full = open_results("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        full.commit(line(0))
    full.close()


def test_a_target_that_cannot_be_written_is_the_operators_error(tmp_path: Path) -> None:
    """A directory, or a path through a file: the setting and the system's reason are told."""
    (tmp_path / "file").touch()
    for target in (tmp_path, tmp_path / "file" / "results"):
        with pytest.raises(ConfigurationError, match=f"CLEAVE_EDGE_RESULTS={target}: "):
            open_results(str(target))


def test_a_file_that_cannot_be_read_now_is_no_mistake_of_the_operators(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without knowing what is done nothing is begun; a restart may find the disk in order."""

    def broken(path: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(module, "scan", broken)
    with pytest.raises(ResultsUnavailableError, match="Input/output error"):
        open_results(str(tmp_path / "r"))
