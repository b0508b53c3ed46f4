"""Facts about the demo's frames."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from benchmarks.frames import camera_window, load_photographs, main, make_frames

SIZE = (160, 90)


def test_the_same_arguments_give_the_same_frames(tmp_path: Path) -> None:
    """Frames are named in order, are JPEGs of the asked size, and are the same bytes each time."""
    first = make_frames(tmp_path / "a", 6, SIZE)
    second = make_frames(tmp_path / "b", 6, SIZE)
    assert [path.name for path in first] == [f"frame-{number:05d}.jpg" for number in range(6)]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert len({path.read_bytes() for path in first}) == 6
    for path in first:
        with Image.open(path) as image:
            image.load()
            assert (image.format, image.size, image.mode) == ("JPEG", SIZE, "RGB")


def test_only_whole_frames_of_the_same_making_are_kept(tmp_path: Path) -> None:
    """A second call writes what is missing, broken or made otherwise, and nothing else."""
    paths = make_frames(tmp_path, 5, SIZE)
    whole = [path.read_bytes() for path in paths]
    paths[1].unlink()
    paths[2].write_bytes(b"")
    make_frames(tmp_path / "other", 5, SIZE, quality=20)[3].replace(paths[3])
    kept = paths[0].stat().st_mtime_ns
    make_frames(tmp_path, 5, SIZE)
    assert [path.read_bytes() for path in paths] == whole
    assert paths[0].stat().st_mtime_ns == kept
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in paths} | {"other"}


def test_frames_weigh_what_a_camera_would_send(tmp_path: Path) -> None:
    """A 720p frame of any scene is between 100 and 250 kB."""
    for path in make_frames(tmp_path, len(load_photographs())):
        assert 100_000 < path.stat().st_size < 250_000


def test_the_camera_stays_within_the_photograph() -> None:
    """Over a whole scene the window has the frame's aspect and shows nothing outside the photograph."""
    for photograph in ((451, 300), (512, 512), (300, 900)):
        for step in range(101):
            left, upper, right, lower = camera_window(step / 100, photograph, 16 / 9)
            assert 0 <= left < right <= photograph[0]
            assert 0 <= upper < lower <= photograph[1]
            assert (right - left) / (lower - upper) == pytest.approx(16 / 9)


@pytest.mark.parametrize(
    ("count", "size", "quality"), [(0, SIZE, 80), (1, (8, 8), 80), (1, SIZE, 0), (1, SIZE, 96)]
)
def test_impossible_frames_are_refused(
    tmp_path: Path, count: int, size: tuple[int, int], quality: int
) -> None:
    """Arguments outside their range are an error before anything is written."""
    with pytest.raises(ValueError, match=r"count ≥ 1"):
        make_frames(tmp_path / "none", count, size, quality)
    assert not (tmp_path / "none").exists()


def test_the_command_says_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command writes the frames, or says why not and fails."""
    arguments = [str(tmp_path), "--width", "160", "--height", "90"]
    assert main([*arguments, "--count", "2"]) == 0
    assert capsys.readouterr().out.startswith(f"2 frames in {tmp_path}")
    assert main([*arguments, "--count", "0"]) == 1
    assert "count ≥ 1" in capsys.readouterr().err
