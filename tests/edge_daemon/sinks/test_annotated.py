"""Facts about annotated frames: the label is on them, few are drawn, the newest are kept, nothing waits."""

from __future__ import annotations

import io
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from edge_daemon.frame import Frame, ImageFile
from edge_daemon.results import FrameRecord
from edge_daemon.sinks import annotated as module
from edge_daemon.sinks.annotated import AnnotatedFrames, draw, label_of
from tests.edge_daemon.records import record
from tests.tiny_model import jpeg


def seen(number: int, data: bytes | None = None, **changes: Any) -> FrameRecord:
    frame = Frame(number, ImageFile(f"{number}.jpg", 1, 1), 0.0, memoryview(data or jpeg(1, (320, 240))))
    return record(frame=frame, **changes)


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


class Time:
    """A clock that the test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_the_label_is_on_the_picture() -> None:
    """A bar at the lower edge, with something written; the rest is as it was."""
    plain = Image.new("RGB", (320, 240), (30, 90, 200))
    buffer = io.BytesIO()
    plain.save(buffer, "JPEG", quality=95)
    picture = Image.open(io.BytesIO(draw(buffer.getvalue(), "hen 98%")))
    assert picture.size == (320, 240)
    bar = picture.crop((0, 225, 40, 240)).convert("L").tobytes()
    assert (min(bar) < 30, max(bar) > 200) == (True, True)
    top = picture.crop((0, 0, 320, 200)).convert("L").tobytes()
    assert max(top) - min(top) < 12


def test_a_label_says_what_it_took_and_where() -> None:
    assert label_of(seen(1)) == "hen 99%  ·  16 ms  ·  after conv1"


@pytest.mark.parametrize("size", [(4000, 3000), (1500, 100), (3, 2)])
def test_pictures_of_any_size_are_drawn(size: tuple[int, int]) -> None:
    """Large ones smaller; whatever the text holds."""
    buffer = io.BytesIO()
    Image.new("L", size).save(buffer, "PNG")
    picture = Image.open(io.BytesIO(draw(buffer.getvalue(), "a\nb\0ü☃ " * 30)))
    assert max(picture.size) <= 1280


def test_of_many_frames_few_are_drawn_and_the_newest_are_kept(tmp_path: Path) -> None:
    """One a second here, three of them; what was there before counts, what others put there does not."""
    ring = tmp_path / "ring"
    ring.mkdir()
    (ring / "cleave-0000000001.jpg").write_bytes(b"old")
    (ring / "holiday.jpg").write_bytes(b"mine")
    clock = Time()
    frames = AnnotatedFrames(ring, keep=3, fps=1.0, clock=clock)
    for second in range(5):
        for part in range(8):
            frames.offer(seen(100 + second * 10 + part))
            clock.now += 0.125
        wait_for(lambda second=second: frames.drawn == second + 1)
    frames.stop(5.0)
    expected = [f"cleave-{number:010d}.jpg" for number in (120, 130, 140)]
    assert names(ring) == [*expected, "holiday.jpg"]
    Image.open(ring / expected[0]).load()


def test_the_pipeline_does_not_wait_and_the_newest_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one is drawn others come: only the last of them is drawn."""
    begun, go = threading.Event(), threading.Event()

    def slow(data: memoryview, text: str) -> bytes:
        begun.set()
        go.wait()
        return b"picture"

    monkeypatch.setattr(module, "draw", slow)
    clock = Time()
    frames = AnnotatedFrames(tmp_path, keep=10, fps=1.0, clock=clock)
    frames.offer(seen(0))
    begun.wait()
    for number in range(1, 5):
        clock.now += 1.0
        frames.offer(seen(number))
    go.set()
    wait_for(lambda: frames.drawn == 2)
    frames.stop(5.0)
    assert names(tmp_path) == ["cleave-0000000000.jpg", "cleave-0000000004.jpg"]


def test_the_last_frame_of_a_run_is_drawn(tmp_path: Path) -> None:
    """However short the run was: it may be the only one."""
    for number in range(20):
        frames = AnnotatedFrames(tmp_path, keep=100, fps=1.0)
        frames.offer(seen(number))
        frames.stop(5.0)
    assert len(names(tmp_path)) == 20


def test_what_cannot_be_drawn_or_written_stops_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No image, a failed frame, a directory that cannot be: said once, and the next one is drawn."""
    clock = Time()
    ring = tmp_path / "ring"
    ring.write_text("a file")
    frames = AnnotatedFrames(ring, keep=3, fps=1.0, clock=clock)
    for number in range(3):
        frames.offer(seen(number, b"no image"))
        wait_for(lambda: frames._waiting is None)
        clock.now += 1.0
    wait_for(lambda: frames._trouble is not None)
    ring.unlink()
    frames.offer(seen(3, b"no image"))
    wait_for(lambda: "identify" in (frames._trouble or ""))
    clock.now += 1.0
    frames.offer(seen(4, error="failed", top5=()))
    frames.offer(seen(5))
    wait_for(lambda: frames.drawn == 1)
    frames.stop(5.0)
    assert names(ring) == ["cleave-0000000005.jpg"]
    assert capsys.readouterr().out.count("annotated frame cannot be made") == 2
