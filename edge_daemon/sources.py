"""The one interface of all sources, and which of them the settings ask for."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from common.errors import ConfigurationError, SourceError
from edge_daemon.camera_source import CameraSource
from edge_daemon.capture_job import CaptureJob
from edge_daemon.config import EdgeSettings
from edge_daemon.frame import QUEUE_FRAMES, FrameQueue, LatestFrameSlot
from edge_daemon.frame_counts import FrameEvent, FrameLedger
from edge_daemon.picture_edit import PictureEdit
from edge_daemon.results_scan import Scan
from edge_daemon.source import DirectorySource, check_directory
from edge_daemon.source_address import Credentials, Delivery, SourceKind
from edge_daemon.source_state import SourceProgress, SourceState
from edge_daemon.video_source import VideoSource, unreadable, video_file


class FrameSource(Protocol):
    """Where frames come from."""

    first_data: asyncio.Future[bytes]
    """The first image's bytes, to profile with. Never set by a source that gives none."""

    @property
    def looks(self) -> int | None:
        """How often it has looked for a frame; none for one whose process is watched by itself."""

    @property
    def state(self) -> SourceState: ...

    def set_rate(self, fps: float) -> None:
        """Take this many frames per second from now on; 0: as fast as possible."""

    async def run(self, stop: asyncio.Event) -> None:
        """Feed the queue until `stop` is set, or the source's end; then put None."""


def delivery_of(settings: EdgeSettings) -> Delivery:
    """Return whether every frame of the source counts, or the latest."""
    if settings.delivery == "auto":
        return "latest" if settings.source.live else "every"
    return settings.delivery


def check_source(settings: EdgeSettings) -> None:
    """Raise `ConfigurationError` for what can be seen to be wrong before anything is opened."""
    address = settings.source
    if address.live and settings.delivery == "every":
        raise ConfigurationError(
            f"CLEAVE_EDGE_DELIVERY=every: {address} gives frames in its own time, and those that nobody takes pass; "
            "leave it out, or say latest"
        )
    if settings.adapt_rate and not settings.sampling_fps:
        raise ConfigurationError(
            "CLEAVE_EDGE_ADAPT_RATE=1 needs a rate to adapt: set CLEAVE_EDGE_SAMPLING_FPS above 0"
        )
    if settings.source_credentials is not None:
        if address.host is None:
            raise ConfigurationError(
                f"CLEAVE_EDGE_SOURCE_CREDENTIALS: {address} asks for no password; leave it out"
            )
        try:
            credentials_of(settings)
        except SourceError as error:
            raise ConfigurationError(str(error)) from None
    if not address.live and not is_file(address.path):
        if address.path.is_char_device():
            raise ConfigurationError(
                f"CLEAVE_EDGE_SOURCE={address}: this is a device; a camera is v4l2:{address}"
            )
        check_directory(address.path)
        if edit_of(settings):
            raise ConfigurationError("CLEAVE_EDGE_ROTATE and CLEAVE_EDGE_CROP are for cameras and videos")
        return
    if not address.live:
        video_file(address.path)
    check_packages(address.kind)


def is_file(path: Path) -> bool:
    """Say whether a source is a file, a video then. Raises `ConfigurationError` where that may not be seen."""
    try:
        return path.is_file()
    except OSError as error:
        raise unreadable(path, error) from error


def check_packages(kind: SourceKind) -> None:
    """Raise `ConfigurationError` when the package that a camera or video needs is missing."""
    if kind is SourceKind.PICAMERA:
        if importlib.util.find_spec("picamera2") is None:
            raise ConfigurationError(
                "CLEAVE_EDGE_SOURCE=picamera: needs picamera2: apt install python3-picamera2, in a virtual "
                "environment made with --system-site-packages"
            )
    elif importlib.util.find_spec("av") is None:
        raise ConfigurationError(
            "cameras, streams and videos need PyAV: `make setup` or `make install-edge` bring it, or pip install av"
        )


def open_source(
    settings: EdgeSettings, ledger: FrameLedger, found: Scan, changed: Callable[[], None]
) -> tuple[FrameSource, FrameQueue]:
    """Return the source that the settings ask for, and the queue that it feeds.

    What `found` has results of is not done again. Raises `ConfigurationError`.
    """
    check_source(settings)
    address, delivery = settings.source, delivery_of(settings)
    slot = LatestFrameSlot(lambda _: ledger.note(FrameEvent.REPLACED))
    queue: FrameQueue = slot if delivery == "latest" else asyncio.Queue(QUEUE_FRAMES)
    common: dict[str, Any] = {
        "ledger": ledger,
        "sampling_fps": settings.sampling_fps,
        "first_number": found.last_number + 1,
    }
    if address.live:
        progress = SourceProgress(str(address.kind), str(address), changed)
        return CameraSource(progress, partial(camera_job, settings), slot, **common), slot
    common |= {"done": found.answered, "exit_when_drained": settings.when_drained == "exit"}
    if not is_file(address.path):
        return DirectorySource(address.path, queue, latest_only=delivery == "latest", **common), queue
    progress = SourceProgress("video", str(address), changed)
    return VideoSource(address.path, progress, video_job(settings), queue, **common), queue


def camera_job(settings: EdgeSettings) -> CaptureJob:
    """Return what the process of a camera is told. Raises `SourceError` for credentials that cannot be read."""
    return CaptureJob.of(
        settings.source, credentials_of(settings), edit_of(settings), max_age_s=settings.max_age_s
    )


def video_job(settings: EdgeSettings) -> CaptureJob:
    """Return what the process of a video is told: every frame at the sampling rate, or as if it were a camera."""
    every = delivery_of(settings) == "every"
    thin_to_fps = settings.sampling_fps if every else 0.0
    return CaptureJob.of(
        settings.source, None, edit_of(settings), every=every, paced=not every, thin_to_fps=thin_to_fps
    )


def edit_of(settings: EdgeSettings) -> PictureEdit:
    return PictureEdit(int(settings.rotate), settings.crop)


def credentials_of(settings: EdgeSettings) -> Credentials | None:
    """Read the credentials' file. Raises `SourceError`; nothing of what is in it is in the message."""
    path: Path | None = settings.source_credentials
    if path is None:
        return None
    try:
        return Credentials.parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SourceError(f"CLEAVE_EDGE_SOURCE_CREDENTIALS={path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise SourceError(f"CLEAVE_EDGE_SOURCE_CREDENTIALS={path}: it is no text") from None
    except ValueError as error:
        raise SourceError(f"CLEAVE_EDGE_SOURCE_CREDENTIALS={path}: {error}") from None
