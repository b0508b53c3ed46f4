"""Facts about reading videos and streams with PyAV, on real files and a real HTTP server."""

from __future__ import annotations

import contextlib
import io
import itertools
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from common.errors import SourceError
from edge_daemon import capture_video
from edge_daemon.capture_job import CaptureJob
from edge_daemon.capture_video import capture, open_options, whole_jpeg
from edge_daemon.captured import UnusableError
from edge_daemon.picture_edit import Crop, PictureEdit
from edge_daemon.source_address import SourceKind
from tests.edge_daemon.videos import index_of, make_video
from tests.tiny_model import jpeg


def job_of(path: Path, **options: Any) -> CaptureJob:
    return CaptureJob(kind=SourceKind.PATH, target=str(path), every=True, **options)


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "libx264"), ("a.mkv", "libx265"), ("a.avi", "mjpeg"), ("a:b#c%20.mp4", "mpeg4")],
)
def test_a_videos_frames_come_in_order_with_their_times(tmp_path: Path, name: str, codec: str) -> None:
    """Each once, whatever the codec and however the file is called; x264's are reordered in the file."""
    frames = list(capture(job_of(make_video(tmp_path / name, 12, fps=10, codec=codec))))
    assert [frame.index for frame in frames] == list(range(12))
    assert [index_of(frame.jpeg()) for frame in frames] == list(range(12))
    assert [frame.position_s for frame in frames] == pytest.approx([i / 10 for i in range(12)], abs=1e-3)


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.avi", "mjpeg")])
def test_a_video_that_is_played_rests_until_each_frames_time(tmp_path: Path, name: str, codec: str) -> None:
    """As long as that is away, by the way that its process asks for; one of which every frame counts never does."""
    path = make_video(tmp_path / name, 61, fps=1, codec=codec)
    played = CaptureJob(kind=SourceKind.PATH, target=str(path), paced=True)
    rests: list[float] = []
    assert len(list(capture(played, rests.append))) == len(rests) == 61
    assert 30.0 < rests[-1] <= 60.0, "beyond what reading took"
    assert len(list(capture(job_of(path), rests.append))) == len(rests) == 61


def test_frames_of_motion_jpeg_are_handed_on_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No decoder and no encoder touches them."""
    monkeypatch.setattr(capture_video, "encode", None)
    frames = list(capture(job_of(make_video(tmp_path / "a.avi", 3, codec="mjpeg"))))
    assert [index_of(frame.jpeg()) for frame in frames] == [0, 1, 2]


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.avi", "mjpeg")])
def test_frames_are_turned_and_cut(tmp_path: Path, name: str, codec: str) -> None:
    """Those that are decoded, and those that are JPEGs already."""
    edit = PictureEdit(90, Crop(0, 10, 40, 20))
    frame = next(iter(capture(job_of(make_video(tmp_path / name, 2, codec=codec), edit=edit))))
    assert Image.open(io.BytesIO(frame.jpeg())).size == (40, 20)
    beyond = job_of(tmp_path / name, edit=PictureEdit(0, Crop(0, 0, 65, 48)))
    with pytest.raises(ValueError, match="beyond the picture of 64x48"):
        next(iter(capture(beyond))).jpeg()


def test_a_truncated_video_gives_the_frames_that_are_there(tmp_path: Path) -> None:
    """A recording that was cut off by a power failure, in a container that can bear it."""
    whole = make_video(tmp_path / "a.mkv", 30, size=(320, 240), codec="mpeg4").read_bytes()
    (tmp_path / "torn.mkv").write_bytes(whole[: len(whole) // 2])
    frames = list(capture(job_of(tmp_path / "torn.mkv")))
    assert 3 < len(frames) < 30
    assert [index_of(frame.jpeg()) for frame in frames[:3]] == [0, 1, 2]


def test_garbage_within_a_video_costs_the_frames_that_it_hits(tmp_path: Path) -> None:
    """The decoder goes on after it, and the process does not fail."""
    data = bytearray(make_video(tmp_path / "a.avi", 30, codec="mpeg4", size=(320, 240)).read_bytes())
    middle = len(data) // 2
    data[middle : middle + 600] = b"\x55" * 600
    (tmp_path / "b.avi").write_bytes(data)
    frames = list(capture(job_of(tmp_path / "b.avi")))
    assert len(frames) >= 15
    assert index_of(frames[-1].jpeg()) == 29


@pytest.mark.parametrize("content", [b"", b"no video at all" * 100, b"\0" * 5000])
def test_a_file_that_is_no_video_is_unusable(tmp_path: Path, content: bytes) -> None:
    """It is said to be so, not tried again and again."""
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(UnusableError):
        list(capture(job_of(tmp_path / "a.mp4")))


def test_a_video_that_lost_its_index_is_unusable(tmp_path: Path) -> None:
    """MP4 has it at its end: a recording that was cut off has none."""
    whole = make_video(tmp_path / "a.mp4", 30).read_bytes()
    (tmp_path / "torn.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnusableError):
        list(capture(job_of(tmp_path / "torn.mp4")))


def test_a_playlist_opens_nothing_but_files(tmp_path: Path) -> None:
    """Security: what somebody else has written makes us connect nowhere."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        nobody.listen()
        nobody.settimeout(0.3)
        port = nobody.getsockname()[1]
        playlist = (
            f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:{port}/a.ts\n#EXT-X-ENDLIST\n"
        )
        (tmp_path / "a.m3u8").write_text(playlist)
        with pytest.raises(SourceError):
            list(capture(job_of(tmp_path / "a.m3u8")))
        with pytest.raises(TimeoutError):
            nobody.accept()


def test_options_are_those_of_the_kind() -> None:
    """TCP for RTSP; a device's own; nothing special for a file."""
    rtsp = CaptureJob(kind=SourceKind.RTSP, target="rtsp://cam/x")
    assert open_options(rtsp)[1]["rtsp_transport"] == "tcp"
    assert "file" not in open_options(rtsp)[1]["protocol_whitelist"]
    device = CaptureJob(kind=SourceKind.V4L2, target="/dev/video0", options=(("size", "64x48"), ("fps", "5")))
    assert open_options(device) == ("v4l2", {"video_size": "64x48", "framerate": "5"})
    assert open_options(job_of(Path("/a"))) == (None, {"protocol_whitelist": "file"})


def test_a_device_that_is_none_is_told() -> None:
    """FFmpeg's V4L2 input is there, and says what the kernel says."""
    with pytest.raises(SourceError, match="Inappropriate ioctl"):
        list(capture(CaptureJob(kind=SourceKind.V4L2, target="/dev/null")))
    with pytest.raises(SourceError, match="No such file"):
        list(capture(CaptureJob(kind=SourceKind.V4L2, target="/dev/video-none")))


def test_a_device_gives_frames_without_times_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg's test picture in the place of a camera: all but the V4L2 input itself."""
    monkeypatch.setattr(capture_video, "open_options", lambda job: ("lavfi", {}))
    frames = capture(CaptureJob(kind=SourceKind.V4L2, target="testsrc=size=64x48:rate=1000"))
    found = [next(frames) for _ in range(3)]
    assert [(frame.index, frame.position_s) for frame in found] == [(0, None), (1, None), (2, None)]
    assert Image.open(io.BytesIO(found[2].jpeg())).size == (64, 48)


@contextlib.contextmanager
def http_camera(pictures: list[bytes]) -> Iterator[str]:
    """Serve motion JPEG as cheap cameras do, over and over, a hundred frames per second; yield its URL."""
    ended = threading.Event()

    class Camera(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            for picture in itertools.cycle(pictures):
                if ended.wait(0.01):
                    break
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                try:
                    self.wfile.write(head.encode() + picture + b"\r\n")
                except ConnectionError:
                    break

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/mjpeg"
    finally:
        ended.set()
        server.shutdown()
        thread.join()
        server.server_close()


def test_motion_jpeg_over_http_is_handed_on_byte_by_byte() -> None:
    """With no time of the camera's: FFmpeg would make one up."""
    pictures = [jpeg(seed) for seed in range(5)]
    with http_camera(pictures) as url:
        frames = capture(CaptureJob(kind=SourceKind.HTTP, target=url))
        found = [next(frames) for _ in pictures]
        frames.close()
    assert [frame.jpeg() for frame in found] == pictures
    assert {frame.position_s for frame in found} == {None}


def without_tables(data: bytes) -> bytes:
    """Take the Huffman tables out of a JPEG, as webcams do."""
    out, at = data[:2], 2
    while data[at : at + 2] != b"\xff\xda":
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at : at + 2] != b"\xff\xc4":
            out += data[at : at + 2 + length]
        at += 2 + length
    return out + data[at:]


def test_a_webcams_jpeg_gets_the_tables_that_it_left_out() -> None:
    """The standard ones, which decoders of files do not know by themselves."""
    data = jpeg(3)
    short = without_tables(data)
    assert len(short) < len(data)
    mended = whole_jpeg(short)
    pixels = [Image.open(io.BytesIO(d)).tobytes() for d in (data, mended)]
    assert pixels[0] == pixels[1]
    assert whole_jpeg(data) is data
    assert whole_jpeg(b"no jpeg") == b"no jpeg"
