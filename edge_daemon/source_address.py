"""What `CLEAVE_EDGE_SOURCE` names: a directory or a video file, a camera, or a stream."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, quote, unquote, urlsplit, urlunsplit

from common.config import absolute
from common.hidden import HIDDEN

FORMS = (
    "/path/of/a/directory",
    "/path/of/a/video.mp4",
    "rtsp://[user:password@]host[:port]/path",
    "http://host[:port]/mjpeg",
    "v4l2:/dev/video0",
    "picamera:0",
)
"""The valid forms, as errors and the reference name them. `rtsps` and `https` are valid, too."""

Delivery = Literal["every", "latest"]


class SourceKind(StrEnum):
    """Where frames come from. Whether a path is a directory or a video is seen when it is opened."""

    PATH = "path"
    RTSP = "rtsp"
    HTTP = "http"
    V4L2 = "v4l2"
    PICAMERA = "picamera"


_SCHEMES = {
    "rtsp": SourceKind.RTSP,
    "rtsps": SourceKind.RTSP,
    "http": SourceKind.HTTP,
    "https": SourceKind.HTTP,
}
_DEVICE_OPTIONS = ("size", "fps", "format")


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user and a password, as they are: nothing is escaped. Never shown."""

    user: str
    password: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Credentials:
        """Read `user:password`, of one line. Raises `ValueError`."""
        user, colon, password = text.strip("\r\n").partition(":")
        if not user or not colon or "\n" in text.strip("\r\n"):
            raise ValueError("it has to hold one line: user:password")
        return cls(user, password)


@dataclass(frozen=True, slots=True)
class SourceAddress:
    """A source, parsed. `str()` shows it without secrets.

    `location` is a path, a device, a camera's number, or a URL without credentials; `options` are a device's.
    """

    kind: SourceKind
    location: str = field(repr=False)
    credentials: Credentials | None = field(default=None, repr=False)
    options: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, value: object) -> object:
        """Read one of `FORMS`. Raises `ValueError` that says what is wrong; no secret is in it."""
        if not isinstance(value, str):
            return value
        scheme, colon, rest = value.partition(":")
        if colon and scheme.lower() in _SCHEMES:
            return _stream(value)
        if colon and scheme in (SourceKind.V4L2, SourceKind.PICAMERA):
            return _device(SourceKind(scheme), rest)
        if "://" in value:
            raise ValueError(f"{scheme}:// is none of the kinds of stream")
        return cls(SourceKind.PATH, str(absolute(Path(value))))

    @property
    def live(self) -> bool:
        """Whether frames come in their own time, and pass: not so from a directory or a video file."""
        return self.kind is not SourceKind.PATH

    @property
    def path(self) -> Path:
        """The directory or file of a `PATH`."""
        return Path(self.location)

    @property
    def host(self) -> tuple[str, int] | None:
        """The host and the port of a stream."""
        if self.kind not in (SourceKind.RTSP, SourceKind.HTTP):
            return None
        parts = urlsplit(self.location)
        ports = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
        return parts.hostname or "", parts.port or ports[parts.scheme.lower()]

    def url(self, credentials: Credentials | None = None) -> str:
        """Return a stream's whole URL, secrets included: for the one who opens it."""
        known = credentials or self.credentials
        if known is None:
            return self.location
        parts = urlsplit(self.location)
        signed = f"{quote(known.user, safe='')}:{quote(known.password, safe='')}@{parts.netloc}"
        return urlunsplit(parts._replace(netloc=signed))

    def __str__(self) -> str:
        if self.kind is SourceKind.PATH:
            return self.location
        if self.host is None:
            query = "&".join(f"{name}={value}" for name, value in self.options)
            return f"{self.kind}:{self.location}{'?' if query else ''}{query}"
        parts = urlsplit(self.location)
        host = f"{HIDDEN}@{parts.netloc}" if self.credentials else parts.netloc
        return urlunsplit(parts._replace(netloc=host, query=HIDDEN if parts.query else ""))


def _stream(value: str) -> SourceAddress:
    parts = urlsplit(value)
    kind = _SCHEMES[parts.scheme.lower()]
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, 0
    if not host or port == 0:
        raise ValueError(
            "the URL has no valid host and port; characters such as / @ # in a password are written %2F %40 %23"
        )
    credentials = None
    if parts.username is not None:
        credentials = Credentials(unquote(parts.username), unquote(parts.password or ""))
    location = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))
    return SourceAddress(kind, location, credentials)


def _device(kind: SourceKind, rest: str) -> SourceAddress:
    location, _, query = rest.partition("?")
    if kind is SourceKind.V4L2 and not location.startswith("/"):
        raise ValueError("v4l2 needs the path of a device")
    if kind is SourceKind.PICAMERA and not (location.isascii() and location.isdigit()):
        raise ValueError("picamera needs the number of a camera")
    options = dict(parse_qsl(query, keep_blank_values=True))
    if unknown := sorted(set(options) - set(_DEVICE_OPTIONS)):
        raise ValueError(
            f"no such option of a camera: {', '.join(unknown)} (there are {', '.join(_DEVICE_OPTIONS)})"
        )
    width, _, height = options.get("size", "1x1").partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise ValueError("size is WIDTHxHEIGHT, in pixels")
    if not options.get("fps", "1").isdigit() or options.get("fps") == "0":
        raise ValueError("fps is a whole number of frames per second")
    if not options.get("format", "mjpeg").isalnum():
        raise ValueError("format is the name of a pixel format or codec, such as mjpeg")
    return SourceAddress(kind, location, options=tuple(options.items()))
