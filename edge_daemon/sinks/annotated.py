"""Frames with their label drawn on them, the newest few of them in a directory: to look at what the edge sees.

pipeline ──offer()──► at most N a second, the latest ─► thread that gives way: decode, draw, encode, write ─► ring
"""

from __future__ import annotations

import contextlib
import io
import re
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog
from PIL import Image, ImageDraw, ImageFont

from common import limits
from common.files import make_directory
from common.niceness import give_way
from edge_daemon.results import FrameRecord

log = structlog.get_logger()

LONGEST_EDGE = 1280
"""Larger frames are scaled down: JPEGs while they are decoded, which costs a fraction."""
QUALITY = 80
OWN_NAME = re.compile(r"cleave-\d{10,}\.jpg")
"""Only files of such names are ever removed."""


@dataclass(frozen=True, slots=True)
class Sketch:
    """A frame that is to be drawn, and what on it."""

    number: int
    data: memoryview
    text: str


class AnnotatedFrames:
    """Owns the thread that draws, and the ring of files. `offer` is the event loop's, and never waits."""

    def __init__(
        self, directory: Path, *, keep: int, fps: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._directory = directory
        self._keep = keep
        self._period_s = 1.0 / fps
        self._clock = clock
        self._due_at = clock()
        self._waiting: Sketch | None = None
        self._changed = threading.Condition()
        self._stopped = False
        self._trouble: str | None = None
        self.drawn = 0
        self._thread = threading.Thread(target=self._work, name="annotated", daemon=True)
        self._thread.start()

    def offer(self, record: FrameRecord) -> None:
        """Have a frame drawn, unless one was a moment ago. One that waits is replaced by a newer one."""
        now = self._clock()
        if now < self._due_at or record.error is not None:
            return
        self._due_at = now + self._period_s
        with self._changed:
            self._waiting = Sketch(record.frame.number, record.frame.data, label_of(record))
            self._changed.notify()

    def stop(self, timeout_s: float) -> None:
        """End the thread, once it has drawn the frame that waits; wait for that no longer than `timeout_s`."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join(timeout_s)

    # --- on the thread ----------------------------------------------------------------------------------
    def _work(self) -> None:
        give_way()
        ring: deque[Path] | None = None
        while True:
            with self._changed:
                while self._waiting is None and not self._stopped:
                    self._changed.wait()
                sketch, self._waiting = self._waiting, None
            if sketch is None:  # stopped, and nothing is left to draw
                return
            try:
                ring = ring if ring is not None else self._find()
                self._write(ring, sketch)
                self._trouble = None
            except Exception as error:  # a frame that Pillow cannot draw, or the disk
                reason = (error.strerror if isinstance(error, OSError) else None) or f"{error}"
                if reason != self._trouble:
                    log.warning("annotated frame cannot be made", path=str(self._directory), reason=reason)
                self._trouble = reason

    def _find(self) -> deque[Path]:
        """Return our files that are there, the oldest first."""
        make_directory(self._directory)
        found = [path for path in self._directory.iterdir() if OWN_NAME.fullmatch(path.name)]
        return deque(sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name)))

    def _write(self, ring: deque[Path], sketch: Sketch) -> None:
        make_directory(self._directory)
        path = self._directory / f"cleave-{sketch.number:010d}.jpg"
        scratch = self._directory / f".{path.name}"
        try:
            scratch.write_bytes(draw(sketch.data, sketch.text))
            scratch.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                scratch.unlink(missing_ok=True)
            raise
        if path in ring:
            ring.remove(path)
        ring.append(path)
        self.drawn += 1
        while len(ring) > self._keep:
            ring.popleft().unlink(missing_ok=True)


def label_of(record: FrameRecord) -> str:
    """Return what is written on a frame: class, probability, and what it took where."""
    best = f"{record.top5[0].label} {record.top5[0].probability:.0%}" if record.top5 else "no answer"
    return f"{best}  ·  {record.durations.total_ms:.0f} ms  ·  {record.cut}"


def draw(data: memoryview | bytes, text: str) -> bytes:
    """Return a frame as JPEG with a line of text on it. Raises what Pillow raises for what is no image."""
    with Image.open(io.BytesIO(data)) as image:
        if image.width * image.height > limits.MAX_FRAME_PIXELS:
            raise ValueError(f"{image.width} × {image.height} pixels are more than are decoded")
        image.draft("RGB", (LONGEST_EDGE, LONGEST_EDGE))
        picture = image.convert("RGB")
    picture.thumbnail((LONGEST_EDGE, LONGEST_EDGE), Image.Resampling.BILINEAR)
    font = ImageFont.load_default(max(picture.height // 28, 10))
    pen = ImageDraw.Draw(picture)
    text = "".join(char if char.isprintable() else "?" for char in text)
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    margin = (bottom - top) // 2
    height = bottom - top + 2 * margin
    pen.rectangle((0, picture.height - height, right - left + 2 * margin, picture.height), fill="black")
    pen.text((margin - left, picture.height - height + margin - top), text, font=font, fill="white")
    encoded = io.BytesIO()
    picture.save(encoded, "JPEG", quality=QUALITY)
    return encoded.getvalue()
