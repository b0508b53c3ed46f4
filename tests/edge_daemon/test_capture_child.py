"""Facts about the capturing process: what it keeps, drops and says."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from common import limits
from common.errors import SourceError
from edge_daemon import capture_picamera, capture_video
from edge_daemon.capture_child import FrameSlot, Waiting, fill, send, serve
from edge_daemon.capture_job import (
    NEXT,
    PREFIX,
    CaptureJob,
    Ended,
    Message,
    Shot,
    Told,
    read_head,
    read_prefix,
)
from edge_daemon.captured import Captured, UnusableError
from edge_daemon.source_address import SourceKind

CAMERA = CaptureJob(kind=SourceKind.RTSP, target="rtsp://cam/x")
VIDEO = CaptureJob(kind=SourceKind.PATH, target="/a.mp4", every=True)


def shot(index: int, position_s: float | None = None, jpeg: bytes | None = None) -> Captured:
    return Captured(index, position_s, time.monotonic(), partial(bytes, jpeg or str(index).encode()))


def taken(slot: FrameSlot) -> int | None:
    found = slot.take(0.0, 0.0)
    return None if found is None else found.frame.index


def test_a_newer_frame_takes_the_place_of_one_that_nobody_took() -> None:
    """One frame is kept, never a queue; all others are counted."""
    slot = FrameSlot(every=False)
    for index in range(5):
        slot.saw_frame()
        slot.put(shot(index), 0.0)
    assert taken(slot) == 4
    assert taken(slot) is None
    assert slot.told() == Told(captured=5, passed_over=4)


def test_a_frame_that_is_too_old_is_dropped_when_it_could_be_taken() -> None:
    """And counted."""
    slot = FrameSlot(every=False)
    slot.put(shot(0), 10.0)
    assert slot.take(0.0, oldest_at=10.5) is None
    assert slot.told().passed_over == 1
    slot.put(shot(1), 10.5)
    assert slot.take(0.0, oldest_at=10.5) is not None


def test_where_every_frame_counts_the_capture_waits() -> None:
    """Nothing is passed over."""
    slot = FrameSlot(every=True)
    slot.put(shot(0), 0.0)
    second = threading.Thread(target=slot.put, args=(shot(1), 0.0))
    second.start()
    assert taken(slot) == 0
    second.join(10)
    slot.end(Ended("end"))
    assert not slot.drained
    assert (taken(slot), slot.drained, slot.told().passed_over) == (1, True, 0)


def test_a_slot_says_while_a_video_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it is not taken for one whose process hangs; before and after there is to be a frame."""
    slot = FrameSlot(every=False)
    seen: list[tuple[float, bool]] = []
    monkeypatch.setattr(time, "sleep", lambda seconds: seen.append((seconds, slot.told().resting)))
    assert not slot.told().resting
    slot.rest(12.5)
    assert seen == [(12.5, True)]
    assert not slot.told().resting


def frames_then(error: Exception | None, *frames: Captured) -> Any:
    def capture(job: CaptureJob, rest: Callable[[float], None] = time.sleep) -> Iterator[Captured]:
        yield from frames
        if error is not None:
            raise error

    return capture


@pytest.mark.parametrize(
    ("error", "ended"),
    [
        (None, Ended("the stream ended", finished=True)),
        (SourceError("rtsp://u:secret@cam/x: gone"), Ended("rtsp://***@cam/x: gone")),
        (UnusableError("no video"), Ended("no video", unusable=True)),
        (RuntimeError("driver"), Ended("RuntimeError: driver")),
    ],
)
def test_the_end_has_a_reason(monkeypatch: pytest.MonkeyPatch, error: Exception | None, ended: Ended) -> None:
    """Whatever a library raises; and no secret is in it."""
    monkeypatch.setattr(capture_video, "capture", frames_then(error, shot(0)))
    slot = FrameSlot(every=False)
    fill(slot, CAMERA)
    assert slot.ended == ended
    assert slot.told() == Told(1, 0)


def test_frames_of_a_video_that_are_not_wanted_are_counted_and_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The daemon sees that the process gets on, and gets only what is left to do."""
    monkeypatch.setattr(capture_video, "capture", frames_then(None, *(shot(i, i / 10) for i in range(5))))
    slot = FrameSlot(every=True)
    fill(slot, CaptureJob(kind=SourceKind.PATH, target="/a.mp4", every=True, skip=((0, 3),)))
    assert (taken(slot), slot.told()) == (4, Told(5, 0))


class Line:
    """The daemon's end of the line to a process that serves on a thread."""

    def __init__(self, slot: FrameSlot, job: CaptureJob) -> None:
        self.ours, its = socket.socketpair()
        self.ours.settimeout(20)
        self._thread = threading.Thread(target=self._serve, args=(its, slot, job))
        self._thread.start()

    @staticmethod
    def _serve(its: socket.socket, slot: FrameSlot, job: CaptureJob) -> None:
        with its:
            serve(its, slot, job)

    def receive(self) -> tuple[Message, bytes]:
        head_bytes, payload_bytes = read_prefix(self.ours.recv(PREFIX.size, socket.MSG_WAITALL))
        head = self.ours.recv(head_bytes, socket.MSG_WAITALL)
        return read_head(head), self.ours.recv(payload_bytes, socket.MSG_WAITALL) if payload_bytes else b""

    def next_but_told(self) -> tuple[Message, bytes]:
        message, payload = self.receive()
        while isinstance(message, Told):
            message, payload = self.receive()
        return message, payload

    def hang_up(self) -> None:
        self.ours.close()
        self._thread.join(20)
        assert not self._thread.is_alive(), "a process whose daemon has hung up ends"


def test_a_frame_is_sent_when_it_is_asked_for_and_not_before() -> None:
    """Until then there are only signs of life."""
    slot = FrameSlot(every=False)
    line = Line(slot, CAMERA)
    slot.saw_frame()
    slot.put(shot(7, jpeg=b"seven"), time.monotonic())
    message, _ = line.receive()
    assert isinstance(message, Told)
    line.ours.sendall(NEXT)
    message, payload = line.next_but_told()
    assert isinstance(message, Shot)
    assert (message.index, payload) == (7, b"seven")
    assert abs(message.captured_ns / 1e9 - time.time()) < 20
    line.hang_up()


def test_the_end_is_the_last_word_after_a_videos_last_frame() -> None:
    """The frame that is left is given before it."""
    slot = FrameSlot(every=True)
    slot.put(shot(0), 0.0)
    slot.end(Ended("end", finished=True))
    line = Line(slot, VIDEO)
    line.ours.sendall(NEXT)
    assert isinstance(line.next_but_told()[0], Shot)
    assert line.next_but_told()[0] == Ended("end", finished=True)
    line.hang_up()


def test_a_cameras_last_frame_is_counted_though_nobody_asked_for_it() -> None:
    """What was captured adds up to the end."""
    slot = FrameSlot(every=False)
    slot.saw_frame()
    slot.put(shot(0), time.monotonic())
    slot.end(Ended("gone"))
    line = Line(slot, CAMERA)
    assert [line.receive()[0], line.receive()[0]] == [Told(captured=1, passed_over=1), Ended("gone")]
    line.hang_up()


@pytest.mark.parametrize("captured", [b"x" * 100, None], ids=["too large", "damaged"])
def test_a_frame_that_cannot_be_made_is_sent_as_the_reason(
    monkeypatch: pytest.MonkeyPatch, captured: bytes | None
) -> None:
    """It has its place and its record; the next one may do."""
    monkeypatch.setattr(limits, "MAX_FRAME_BYTES", 99)

    def jpeg() -> bytes:
        if captured is None:
            raise ValueError("a damaged JPEG")
        return captured

    ours, its = socket.socketpair()
    with ours, its:
        send(its, Waiting(Captured(3, None, 0.0, jpeg), time.monotonic()))
        head_bytes, payload_bytes = read_prefix(ours.recv(PREFIX.size))
        message = read_head(ours.recv(head_bytes))
    assert isinstance(message, Shot)
    assert (message.index, payload_bytes) == (3, 0)
    assert message.error == ("a damaged JPEG" if captured is None else "a frame of 100 bytes, 99 are allowed")


def test_the_picamera_has_a_capture_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All else is PyAV's."""
    monkeypatch.setattr(capture_picamera, "capture", frames_then(None, shot(1), shot(2)))
    slot = FrameSlot(every=False)
    fill(slot, CaptureJob(kind=SourceKind.PICAMERA, target="0"))
    assert slot.told() == Told(2, 1)
