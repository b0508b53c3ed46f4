"""Facts about files that hold secrets: what is in order, what is said of what is not, and what is never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import ConfigurationError
from edge_daemon.sinks.addresses import WebhookAddress
from edge_daemon.sinks.secret_files import read_login, read_secret, read_url, trust
from tests.certificates import files


def test_a_login_is_two_lines(tmp_path: Path) -> None:
    """And its password is not shown where it is printed."""
    path = tmp_path / "login"
    path.write_text("edge\nhunter2\n")
    login = read_login(path)
    assert (login.user, login.password) == ("edge", "hunter2")
    assert "hunter2" not in repr(login)


@pytest.mark.parametrize("content", [b"", b"edge\n", b"\npassword\n", b"a\nb\nc\n", b"\xff\xfe\n\n"])
def test_what_is_no_login_is_told_without_its_content(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "login"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="CLEAVE_EDGE_MQTT_LOGIN=") as error:
        read_login(path)
    assert "password" not in str(error.value).replace("the password", "")


def test_a_secret_has_some_length(tmp_path: Path) -> None:
    """White space around it does not count."""
    path = tmp_path / "secret"
    path.write_text("  0123456789abcdef\n")
    assert read_secret(path) == b"0123456789abcdef"
    path.write_text("short")
    with pytest.raises(ConfigurationError, match="has 5 characters; it needs at least 16"):
        read_secret(path)
    with pytest.raises(ConfigurationError, match="No such file"):
        read_secret(tmp_path / "nothing")


def test_a_url_may_be_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "url"
    path.write_text("https://example.org/x\n")
    assert read_url(WebhookAddress(file=path)) == "https://example.org/x"
    assert read_url(WebhookAddress(url="https://example.org/y")) == "https://example.org/y"
    path.write_text("gopher://secret-path")
    with pytest.raises(ConfigurationError) as error:
        read_url(WebhookAddress(file=path))
    assert "secret-path" not in str(error.value)


def test_authorities_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    good = files(tmp_path / "tls", "porch").directory / "ca.pem"
    assert trust(good, "CLEAVE_EDGE_MQTT_CA").get_ca_certs()
    bad = tmp_path / "ca.pem"
    for content in (b"", b"no certificate", good.read_bytes()[:300]):
        bad.write_bytes(content)
        with pytest.raises(ConfigurationError, match="CLEAVE_EDGE_MQTT_CA="):
            trust(bad, "CLEAVE_EDGE_MQTT_CA")
