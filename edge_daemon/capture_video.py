"""Frames of files, streams and V4L2 devices by PyAV, for the capturing process: it blocks, and may hang for ever."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import TYPE_CHECKING

from PIL import Image

from common.errors import SourceError
from edge_daemon.capture_job import CaptureJob
from edge_daemon.captured import Captured, UnusableError
from edge_daemon.picture import edit_jpeg, encode
from edge_daemon.picture_edit import PictureEdit
from edge_daemon.source_address import SourceKind

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.stream import VideoStream

HUFFMAN_TABLES = b"\xff\xc4"
"""The marker that a JPEG's tables follow. Cameras leave the standard ones out, and decoders of files miss them."""

_PROTOCOLS = {
    SourceKind.PATH: "file",
    SourceKind.RTSP: "rtsp,rtp,udp,tcp,tls",
    SourceKind.HTTP: "http,https,tcp,tls",
}
"""Security: what a stream or a file may make us open. A playlist names files and hosts of its writer's choice."""


Rest = Callable[[float], None]
"""Waits for so many seconds."""


def capture(job: CaptureJob, rest: Rest = time.sleep) -> Generator[Captured, None, None]:
    """Open the source and yield its frames as they come, until its end; one that is played `rest`s between them.

    Raises `SourceError`.
    """
    import av

    av.logging.set_level(None)  # errors come as exceptions
    try:
        with open_source(job) as container:
            if not container.streams.video:
                raise UnusableError("there is no video in it")
            stream = container.streams.video[0]
            # Its frames are JPEGs already: they are handed on as they are, and decoding is the network's business.
            ready_made = stream.codec_context.name == "mjpeg"
            yield from (_packets if ready_made else _pictures)(container, stream, job, rest)
    except av.error.FFmpegError as error:
        kind = UnusableError if isinstance(error, av.error.InvalidDataError) else SourceError
        raise kind(error.strerror or str(error)) from None


def open_source(job: CaptureJob) -> InputContainer:
    """Open what a job names, in the way of its kind."""
    import av

    format_, options = open_options(job)
    target = f"file:{job.target}" if job.kind is SourceKind.PATH else job.target
    return av.open(target, format=format_, options=options)


def open_options(job: CaptureJob) -> tuple[str | None, dict[str, str]]:
    """Return the format and the options that FFmpeg is to open a job's target with; no format: it finds out."""
    if job.kind is SourceKind.V4L2:
        names = {"size": "video_size", "fps": "framerate", "format": "input_format"}
        return "v4l2", {names[name]: value for name, value in job.options}
    options = {"protocol_whitelist": _PROTOCOLS[job.kind]}
    if job.kind is SourceKind.RTSP:
        # Over TCP: over UDP a lost packet is a grey picture. Without sound, nothing to wait for.
        options |= {"rtsp_transport": "tcp", "allowed_media_types": "video"}
    if job.kind is not SourceKind.PATH:
        options |= {"analyzeduration": "500000", "fpsprobesize": "0"}
    return None, options


def _packets(
    container: InputContainer, stream: VideoStream, job: CaptureJob, rest: Rest
) -> Iterator[Captured]:
    clock = _Positions(job, stream, rest)
    index = 0
    for packet in container.demux(stream):
        if not packet.size:
            continue  # the end
        yield clock.captured(index, packet.pts, partial(_edited, bytes(packet), job.edit))
        index += 1


def _pictures(
    container: InputContainer, stream: VideoStream, job: CaptureJob, rest: Rest
) -> Iterator[Captured]:
    import av

    clock = _Positions(job, stream, rest)
    index = 0
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            continue  # the decoder goes on with the next one
        for frame in frames:
            assert isinstance(frame, av.VideoFrame)
            yield clock.captured(index, frame.pts, partial(_encoded, frame, job.edit))
            index += 1


def _edited(data: bytes, edit: PictureEdit) -> bytes:
    return edit_jpeg(whole_jpeg(data), edit)


def _encoded(frame: av.VideoFrame, edit: PictureEdit) -> bytes:
    return encode(Image.fromarray(frame.to_ndarray(format="rgb24")), edit)


class _Positions:
    """Times of a source's frames, from the first one on; a video that is paced waits for them."""

    def __init__(self, job: CaptureJob, stream: VideoStream, rest: Rest) -> None:
        self._rest = rest
        # Streams of bare JPEGs come without times: FFmpeg makes some up, as of 25 frames per second.
        self._told = job.kind in (SourceKind.PATH, SourceKind.RTSP)
        self._paced = job.paced
        self._time_base = float(stream.time_base or 0)
        self._period_s = 1.0 / float(stream.average_rate or 25)
        self._is_file = job.kind is SourceKind.PATH
        self._first: int | None = None
        self._began = time.monotonic()

    def captured(self, index: int, pts: int | None, jpeg: Callable[[], bytes]) -> Captured:
        position_s = self._position_s(index, pts)
        if self._paced and position_s is not None:
            self._rest(max(self._began + position_s - time.monotonic(), 0.0))
        return Captured(index, position_s, time.monotonic(), jpeg)

    def _position_s(self, index: int, pts: int | None) -> float | None:
        if not self._told:
            return None
        if pts is None:
            return index * self._period_s if self._is_file else None
        if self._first is None:
            self._first = pts
        return (pts - self._first) * self._time_base


def whole_jpeg(data: bytes) -> bytes:
    """Return a JPEG of a motion JPEG stream as a file has it: with its Huffman tables."""
    if HUFFMAN_TABLES in data:
        return data
    import av
    from av.bitstream import BitStreamFilterContext

    packet = av.Packet(data)
    try:
        return b"".join(bytes(out) for out in BitStreamFilterContext("mjpeg2jpeg").filter(packet))
    except av.error.FFmpegError:
        return data  # no JPEG: whoever decodes it will say so
