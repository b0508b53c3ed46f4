"""Facts about hiding secrets: what logs and records show of a URL has none."""

from __future__ import annotations

import pytest

from common.hidden import hide_secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://admin:secret@cam:554/live", "rtsp://***@cam:554/live"),
        ("cannot open rtsp://admin:secret@cam/live, twice", "cannot open rtsp://***@cam/live, twice"),
        ("http://cam/mjpeg?user=admin&pwd=secret now", "http://cam/mjpeg?*** now"),
        ("http://cam/mjpeg#secret", "http://cam/mjpeg?***"),
        ("rtsp://admin:se/cr@et@cam/live", "rtsp://***@cam/live"),
        ("http://a/b and rtsp://u:secret@c/d", "http://a/b and rtsp://***@c/d"),
        ("rtsp:/admin:secret@cam/live", "rtsp:/***@cam/live"),
        ("rtsp:admin:secret@cam/live", "rtsp:***@cam/live"),
        ("RTSP://admin:secret@cam", "RTSP://***@cam"),
    ],
)
def test_credentials_and_queries_are_hidden(text: str, shown: str) -> None:
    """Whatever the password looks like, and also of what is not quite a URL."""
    assert hide_secrets(text) == shown


@pytest.mark.parametrize(
    "text", ["", "/frames?", "who@where", "after conv1 as f16", "127.0.0.1:7400", "a: b c@d"]
)
def test_other_texts_stay_as_they_are(text: str) -> None:
    """Paths, addresses and plans have no secrets."""
    assert hide_secrets(text) == text
