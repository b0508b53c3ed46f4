"""Facts about which source the settings ask for, and what is refused before anything is opened."""

from __future__ import annotations

import asyncio
import errno
import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest

from common.errors import ConfigurationError, SourceError
from edge_daemon.camera_source import CameraSource
from edge_daemon.config import EdgeSettings
from edge_daemon.frame import LatestFrameSlot
from edge_daemon.frame_counts import FrameLedger
from edge_daemon.picture_edit import Crop, PictureEdit
from edge_daemon.results_scan import Scan
from edge_daemon.source import DirectorySource
from edge_daemon.sources import camera_job, check_source, delivery_of, open_source, video_job
from edge_daemon.video_source import VideoSource
from tests.event_loop import run

RTSP = "rtsp://cam/live"


def settings_of(source: str | Path, **settings: Any) -> EdgeSettings:
    environ = {"CLEAVE_MODEL": "m", "CLEAVE_EDGE_SOURCE": str(source)}
    return EdgeSettings.load(
        environ | {f"CLEAVE_EDGE_{name.upper()}": str(v) for name, v in settings.items()}
    )


def test_each_kind_has_its_source_and_its_queue(tmp_path: Path) -> None:
    """Every frame of files counts, the latest of what is live; of files the operator may choose."""
    video = tmp_path / "a.mp4"
    video.write_bytes(b"video")

    async def main() -> None:
        for source, settings, kind, delivery in (
            (tmp_path, {}, DirectorySource, "every"),
            (tmp_path, {"delivery": "latest"}, DirectorySource, "latest"),
            (video, {}, VideoSource, "every"),
            (video, {"delivery": "latest"}, VideoSource, "latest"),
            (RTSP, {}, CameraSource, "latest"),
            (RTSP, {"delivery": "latest"}, CameraSource, "latest"),
            ("v4l2:/dev/video0", {}, CameraSource, "latest"),
        ):
            asked = settings_of(source, **settings)
            found, queue = open_source(asked, FrameLedger(), Scan(), lambda: None)
            assert isinstance(found, kind)
            assert isinstance(queue, LatestFrameSlot) == (delivery == "latest")
            assert isinstance(queue, asyncio.Queue) == (delivery == "every")
            assert delivery_of(asked) == delivery
            found.set_rate(5.0)
            assert found.state.restarts == 0

    run(main())


@pytest.mark.parametrize(
    ("source", "settings", "reason"),
    [
        (
            RTSP,
            {"delivery": "every"},
            "CLEAVE_EDGE_DELIVERY=every: rtsp://cam/live gives frames in its own time",
        ),
        (RTSP, {"adapt_rate": "1"}, "CLEAVE_EDGE_ADAPT_RATE=1 needs a rate"),
        ("/no/such", {}, "CLEAVE_EDGE_SOURCE=/no/such: does not exist"),
        ("/tmp", {"rotate": "90"}, "are for cameras and videos"),
        ("/tmp", {"crop": "0,0,1,1"}, "are for cameras and videos"),
        ("/tmp", {"source_credentials": "/x"}, "asks for no password"),
        ("v4l2:/dev/video0", {"source_credentials": "/x"}, "asks for no password"),
        (RTSP, {"source_credentials": "/no/such"}, "CLEAVE_EDGE_SOURCE_CREDENTIALS=/no/such: No such file"),
        ("/dev/null", {}, "a camera is v4l2:/dev/null"),
    ],
)
def test_what_cannot_be_is_refused(source: str, settings: dict[str, str], reason: str) -> None:
    """With the setting's name, and what to do."""
    with pytest.raises(ConfigurationError, match=reason):
        check_source(settings_of(source, **settings))


def test_a_place_that_this_account_may_not_enter_is_said_to_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A home directory that the unit hides, say: it is the operator's to mend, and no bug with a traceback."""
    stat = os.stat

    def refuse(path: Any, *rest: Any, **options: Any) -> os.stat_result:
        if str(path).startswith("/home/pi"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return stat(path, *rest, **options)

    monkeypatch.setattr(os, "stat", refuse)
    reason = "CLEAVE_EDGE_SOURCE=/home/pi/frames: it cannot be read: Permission denied; let the daemon's user read it"
    with pytest.raises(ConfigurationError, match=reason):
        check_source(settings_of("/home/pi/frames"))


@pytest.mark.parametrize(
    ("source", "package"), [(RTSP, r"pip install av"), ("picamera:0", "python3-picamera2")]
)
def test_a_missing_package_is_told_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, source: str, package: str
) -> None:
    """At the start, not by a process that cannot begin."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=package):
        check_source(settings_of(source))


def test_a_job_is_what_the_settings_say(tmp_path: Path) -> None:
    """Credentials are read anew for each process, so that they can be replaced."""
    secret = tmp_path / "camera"
    secret.write_text("me:one\n")
    settings = settings_of(
        "rtsp://cam/live", source_credentials=secret, rotate=270, crop="1,2,3,4", max_age_s=0.5
    )
    job = camera_job(settings)
    assert (job.target, job.host, job.every, job.max_age_s) == (
        "rtsp://me:one@cam/live",
        ("cam", 554),
        False,
        0.5,
    )
    assert job.edit == PictureEdit(270, Crop(1, 2, 3, 4))
    secret.write_text("me:two\n")
    assert camera_job(settings).target == "rtsp://me:two@cam/live"
    secret.write_text("me-and-no-password")
    with pytest.raises(SourceError, match="one line: user:password") as error:
        camera_job(settings)
    assert "me-and" not in str(error.value)


def test_a_place_that_may_not_be_entered_is_the_operators_to_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the model is loaded, with what to do; and so is a video that may not be read."""
    video = tmp_path / "a.mp4"
    video.write_bytes(b"video")

    def refuse(*_: object, **__: object) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied")

    for where, name in ((os, "open"), (Path, "is_file")):
        with monkeypatch.context() as patched:
            patched.setattr(where, name, refuse)
            with pytest.raises(ConfigurationError, match="Permission denied; let the daemon's user read it"):
                check_source(settings_of(video))


def test_a_video_is_thinned_or_played(tmp_path: Path) -> None:
    """Thinned to the rate where every frame counts; else in its own time."""
    video = tmp_path / "a.mp4"
    video.write_bytes(b"video")
    job = video_job(settings_of(video, sampling_fps=5))
    assert (job.every, job.paced, job.thin_to_fps) == (True, False, 5.0)
    job = video_job(settings_of(video, sampling_fps=5, delivery="latest"))
    assert (job.every, job.paced, job.thin_to_fps) == (False, True, 0.0)
