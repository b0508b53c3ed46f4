"""Facts about files that are whole whenever somebody reads them."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from common.files import (
    DAY_S,
    lock_exclusively,
    make_directory,
    put_aside,
    remove_outdated,
    sync_directory,
    write_all,
    write_atomically,
)


def test_a_failed_write_leaves_the_old_file_and_no_scraps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every moment the file is the old or the whole new one, whenever writing fails."""
    path = tmp_path / "file.json"
    write_atomically(path, "old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for step in ("fsync", "replace"):
        with monkeypatch.context() as patched:
            patched.setattr(os, step, fail)
            with pytest.raises(OSError, match="No space"):
                write_atomically(path, "new")
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]
    write_atomically(path, "new")
    assert path.read_text() == "new"


def test_bytes_and_text_are_written_as_they_are(tmp_path: Path) -> None:
    """Text goes as UTF-8, bytes as bytes."""
    write_atomically(tmp_path / "text", "é\n")
    write_atomically(tmp_path / "bytes", b"\xff\x00")
    assert (tmp_path / "text").read_bytes() == "é\n".encode()
    assert (tmp_path / "bytes").read_bytes() == b"\xff\x00"


def test_a_new_files_name_is_synced_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Content first, then the name: else a power cut leaves a name without content, or content without a name."""
    order: list[str] = []

    def sync(descriptor: int) -> None:
        order.append("directory" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")

    monkeypatch.setattr(os, "fsync", sync)
    write_atomically(tmp_path / "file", "x")
    assert order == ["file", "directory"]


def test_new_directories_are_synced_into_their_parents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each one that had to be made; what is there is left alone."""
    synced: list[str] = []
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    )
    make_directory(tmp_path / "a" / "b")
    assert synced == [str(tmp_path), str(tmp_path / "a")]
    make_directory(tmp_path / "a" / "b")
    assert len(synced) == 2


def test_a_file_system_that_syncs_no_directories_is_borne(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some network shares say it is invalid; an I/O error is one all the same."""
    for number, raises in ((errno.EINVAL, False), (errno.EIO, True)):

        def fail(descriptor: int, number: int = number) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "fsync", fail)
        if raises:
            with pytest.raises(OSError, match="Input/output"):
                sync_directory(tmp_path)
        else:
            sync_directory(tmp_path)


def test_all_is_written_though_the_system_takes_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short write is no error; the rest follows."""
    reader, writer = os.pipe()
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, bytes(data)[:3]))
    write_all(writer, b"0123456789")
    os.close(writer)
    assert os.read(reader, 100) == b"0123456789"
    os.close(reader)


def test_a_damaged_file_is_put_aside(tmp_path: Path) -> None:
    """Under a name beside its own, in place of an earlier one; what is not there makes no trouble."""
    for content in ("one", "two"):
        (tmp_path / "state").write_text(content)
        kept = put_aside(tmp_path / "state")
        assert (kept, kept.read_text()) == (tmp_path / "state.damaged", content)
    assert not (tmp_path / "state").exists()
    put_aside(tmp_path / "state")


def test_a_file_is_one_holders_until_it_is_closed(tmp_path: Path) -> None:
    """Two who open it are two holders, also in one process."""
    path = tmp_path / "lock"
    first, second = (os.open(path, os.O_RDWR | os.O_CREAT) for _ in range(2))
    assert lock_exclusively(first)
    with pytest.raises(BlockingIOError):
        lock_exclusively(second)
    os.close(first)
    assert lock_exclusively(second)
    os.close(second)


@pytest.mark.parametrize("error", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EIO])
def test_a_file_system_without_locks_is_said_and_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    """Some network shares have none; a disk in trouble is another matter."""

    def fail(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(fcntl, "flock", fail)
    with open(tmp_path / "lock", "wb") as file:
        if error == errno.EIO:
            with pytest.raises(OSError, match="Input/output"):
                lock_exclusively(file.fileno())
        else:
            assert not lock_exclusively(file.fileno())


def aged(path: Path, age_s: float) -> Path:
    """Make a file that was written so long ago."""
    path.touch()
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime - age_s))
    return path


def test_what_is_outdated_is_removed(tmp_path: Path) -> None:
    """All of that name that is a day old; not what is spared or young, nor what has another name."""
    old, spared = aged(tmp_path / "a-1", 2 * DAY_S), aged(tmp_path / "a-2", 2 * DAY_S)
    young, other = aged(tmp_path / "a-3", 0.9 * DAY_S), aged(tmp_path / "b-1", 2 * DAY_S)
    saved = aged(tmp_path / "a-4", 0.0)
    remove_outdated(saved, "a-*", spared=[spared])
    assert not old.exists()
    assert {*tmp_path.iterdir()} == {spared, young, other, saved}


def test_the_newest_are_kept_however_old(tmp_path: Path) -> None:
    """So many beside the new file; and where age is no matter, the others go at once."""
    files = [aged(tmp_path / f"a-{days}", days * DAY_S) for days in range(5)]
    remove_outdated(files[0], "a-*", newest=2)
    assert {*tmp_path.iterdir()} == {*files[:3]}
    remove_outdated(files[0], "a-*", newest=1, least_age_s=0.0)
    assert {*tmp_path.iterdir()} == {*files[:2]}


def test_what_cannot_be_removed_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever saved something has saved it, whatever comes of tidying up."""
    old, saved = aged(tmp_path / "a-1", 2 * DAY_S), aged(tmp_path / "a-2", 0.0)

    def fail(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", fail)
    remove_outdated(saved, "a-*")
    assert old.exists()
    remove_outdated(tmp_path / "gone", "a-*")
    assert old.exists()
