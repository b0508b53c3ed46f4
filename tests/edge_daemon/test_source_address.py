"""Facts about what `CLEAVE_EDGE_SOURCE` may name, and about the secrets in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ConfigurationError
from edge_daemon.config import EdgeSettings
from edge_daemon.source_address import FORMS, Credentials, SourceAddress, SourceKind


def parse(text: str) -> SourceAddress:
    found = SourceAddress.parse(text)
    assert isinstance(found, SourceAddress)
    return found


@pytest.mark.parametrize(
    ("text", "kind", "location"),
    [
        ("/frames", SourceKind.PATH, "/frames"),
        ("/a:b/clip.mp4", SourceKind.PATH, "/a:b/clip.mp4"),
        ("rtsp://cam/live", SourceKind.RTSP, "rtsp://cam/live"),
        ("rtsps://cam:322/live?channel=1", SourceKind.RTSP, "rtsps://cam:322/live?channel=1"),
        ("http://cam:8080/mjpeg", SourceKind.HTTP, "http://cam:8080/mjpeg"),
        ("https://[fd00::1]/mjpeg", SourceKind.HTTP, "https://[fd00::1]/mjpeg"),
        ("v4l2:/dev/video0", SourceKind.V4L2, "/dev/video0"),
        ("picamera:0", SourceKind.PICAMERA, "0"),
    ],
)
def test_each_form_has_its_kind(text: str, kind: SourceKind, location: str) -> None:
    """And only what comes in its own time is live."""
    address = parse(text)
    assert (address.kind, address.location, address.credentials) == (kind, location, None)
    assert address.live == (kind is not SourceKind.PATH)
    assert str(address) == text.replace("?channel=1", "?***")


def test_a_relative_path_is_made_absolute() -> None:
    """The daemon's directory may change; what was named does not."""
    assert parse("frames").path == Path("frames").absolute()


@pytest.mark.parametrize(
    "text",
    [
        "rtps://cam/live",
        "rtsp://",
        "rtsp:cam/live",
        "rtsp://cam:port/live",
        "rtsp://cam:0/live",
        "rtsp://u:p@/live",
        "rtsp://u:p/w@cam/live",
        "v4l2:video0",
        "v4l2:/dev/video0?size=big",
        "v4l2:/dev/video0?size=0x0",
        "v4l2:/dev/video0?fps=fast",
        "v4l2:/dev/video0?fps=0",
        "v4l2:/dev/video0?colour=red",
        "v4l2:/dev/video0?format=a,b",
        "picamera:",
        "picamera:front",
        "picamera:-1",
    ],
)
def test_anything_else_is_refused_with_the_valid_forms(text: str) -> None:
    """By name, before anything is opened."""
    with pytest.raises(ConfigurationError, match=r"CLEAVE_EDGE_SOURCE=.*valid: ") as error:
        EdgeSettings.load({"CLEAVE_MODEL": "m", "CLEAVE_EDGE_SOURCE": text})
    for form in FORMS:
        assert form in str(error.value)


CHARACTERS = st.characters(codec="ascii", categories=("L", "N", "P"))
SECRETS = st.text(CHARACTERS, min_size=1, max_size=20).map("zq{}qz".format)


@given(
    SECRETS,
    st.sampled_from(["rtsp://u:{}@cam/x", "rtsp://u:{}@", "http://cam/m?pwd={}", "rtsp://u:{}@cam:z/x"]),
)
def test_no_secret_is_ever_shown(secret: str, form: str) -> None:
    """Neither by the value, nor by an error, nor by `--print-config`."""
    text = form.format(secret)
    try:
        settings = EdgeSettings.load({"CLEAVE_MODEL": "m", "CLEAVE_EDGE_SOURCE": text})
    except ConfigurationError as error:
        shown = str(error)
    else:
        shown = f"{settings.source} {settings.source!r} {settings!r} {settings.as_environment()}"
    assert secret not in shown


def test_credentials_are_unescaped_and_escaped_again() -> None:
    """A password may have any characters; in a URL they are escaped."""
    address = parse("rtsp://me:p%40ss%2Fw%3Ard@cam:8554/live?x=1")
    assert address.credentials == Credentials("me", "p@ss/w:rd")
    assert address.location == "rtsp://cam:8554/live?x=1"
    assert address.url() == "rtsp://me:p%40ss%2Fw%3Ard@cam:8554/live?x=1"
    assert str(address) == "rtsp://***@cam:8554/live?***"


def test_credentials_of_a_file_outweigh_those_of_the_url() -> None:
    """They are what the operator keeps secret."""
    assert parse("rtsp://a:b@cam/live").url(Credentials("me", "s:e@t")) == "rtsp://me:s%3Ae%40t@cam/live"
    assert parse("rtsp://[fd00::1]:554/live").url(Credentials("me", "x")) == "rtsp://me:x@[fd00::1]:554/live"


def test_a_file_of_credentials_holds_one_line() -> None:
    """The password begins after the first colon, and may have more of them."""
    assert Credentials.parse("me:pass:word \n") == Credentials("me", "pass:word ")
    assert "pass" not in repr(Credentials("me", "pass"))
    for text in ("", "me", ":x", "me:x\nyou:y\n"):
        with pytest.raises(ValueError, match="one line: user:password"):
            Credentials.parse(text)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("rtsp://cam/x", ("cam", 554)),
        ("rtsps://cam/x", ("cam", 322)),
        ("http://cam/x", ("cam", 80)),
        ("https://[fd00::1]/x", ("fd00::1", 443)),
        ("http://cam:81/x", ("cam", 81)),
        ("/frames", None),
        ("v4l2:/dev/video0", None),
    ],
)
def test_a_stream_has_a_host_and_a_port(text: str, host: tuple[str, int] | None) -> None:
    """The scheme's port where none is given."""
    assert parse(text).host == host


def test_a_device_has_options() -> None:
    """Size, rate and format, which are the camera's to refuse."""
    address = parse("v4l2:/dev/video0?size=1280x720&fps=30&format=mjpeg")
    assert address.options == (("size", "1280x720"), ("fps", "30"), ("format", "mjpeg"))
    assert str(address) == "v4l2:/dev/video0?size=1280x720&fps=30&format=mjpeg"
