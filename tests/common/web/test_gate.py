"""Facts about who may see a page."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.config import Address
from common.errors import ConfigurationError
from common.web.gate import Gate, bearer_token, names_this_machine, read_token

TOKEN = "correct-horse-battery"
HERE = Address(host="127.0.0.1", port=7480)
ANYWHERE = Address(host="0.0.0.0", port=7480)


def token_file(directory: Path, text: str = TOKEN, mode: int = 0o600) -> Path:
    path = directory / "token"
    path.write_text(text + "\n")
    path.chmod(mode)
    return path


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "camera.local"])
def test_beyond_this_machine_there_is_no_page_without_a_token(tmp_path: Path, host: str) -> None:
    """The error says what would be seen, and both ways out; with a token it may be."""
    listen = Address(host=host, port=7480)
    with pytest.raises(ConfigurationError) as caught:
        Gate.of("edge", listen, None, "CLEAVE_EDGE_HTTP")
    for part in ("everybody who can reach", "CLEAVE_EDGE_HTTP_TOKEN=FILE", "127.0.0.1"):
        assert part in str(caught.value)
    assert Gate.of("edge", listen, token_file(tmp_path), "CLEAVE_EDGE_HTTP").token == TOKEN


def test_a_token_lets_in_by_header_and_by_cookie() -> None:
    """And nothing that only resembles it does; the cookie is not the token."""
    gate = Gate("edge", TOKEN)
    assert TOKEN not in gate.cookie
    nothing = {"host": "camera.local", "authorization": "", "cookie": ""}
    for right in (
        {"authorization": f"Bearer {TOKEN}"},
        {"authorization": f"bearer  {TOKEN} "},
        {"cookie": gate.cookie},
    ):
        assert gate.lets_in(**nothing | right)
    for wrong in (
        {},
        {"authorization": TOKEN},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": f"Bearer {TOKEN[:-1]}"},
        {"authorization": "Bearer é€"},
        {"authorization": "Bearer \udcff"},  # the byte 0xff, as aiohttp gives it
        {"authorization": "Bearer \ud800"},
        {"authorization": f"Bearer {TOKEN}\udcff"},
        {"cookie": "\udcff"},
        {"cookie": TOKEN},
        {"cookie": gate.cookie.upper()},
        {"host": "localhost"},
    ):
        assert not gate.lets_in(**nothing | wrong), wrong


def test_what_is_given_as_a_token_and_what_is_not() -> None:
    """Only what claims to be one is a wrong one."""
    for header, token in (
        (f"Bearer {TOKEN}", TOKEN),
        (f"bearer  {TOKEN} ", TOKEN),
        ("Bearer", ""),
        ("", None),
        (f"Basic {TOKEN}", None),
        (TOKEN, None),
    ):
        assert bearer_token(header) == token, header


def test_the_cookie_is_good_after_a_restart_and_for_one_token_only() -> None:
    """It is made from the token, so a new token ends all visits."""
    assert Gate("edge", TOKEN).cookie == Gate("edge", TOKEN).cookie != Gate("edge", TOKEN + "!").cookie
    assert Gate("edge").cookie_name != Gate("cloud").cookie_name


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:7480", "127.0.0.1", "127.0.0.1:7480", "[::1]:7480", "[::1]"]
)
def test_this_machines_names(host: str) -> None:
    """As browsers write them."""
    assert names_this_machine(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "evil.example:7480",
        "127.0.0.1.evil.example",
        "localhost.evil.example:80",
        "10.0.0.1",
    ],
)
def test_a_foreign_name_for_this_machine_is_not_answered(host: str) -> None:
    """A web page whose name its owner points at 127.0.0.1 (DNS rebinding) sends that name."""
    assert not Gate("edge").lets_in(host=host, authorization="", cookie="")


def test_a_token_never_shows() -> None:
    """Not where the gate is printed or logged."""
    assert TOKEN not in repr(Gate("edge", TOKEN))


@pytest.mark.parametrize(
    ("text", "mode", "complaint"),
    [
        (TOKEN, 0o644, r"may be read by anybody \(mode 0644\): chmod 600"),
        ("short", 0o600, "16 to 512 printable ASCII characters, this one has 5"),
        ("", 0o600, "this one has 0"),
        ("two words\nand a line end", 0o600, "printable"),
    ],
)
def test_a_token_that_is_no_secret_is_refused(tmp_path: Path, text: str, mode: int, complaint: str) -> None:
    """With what to do; the token itself is not in the error."""
    with pytest.raises(ConfigurationError, match=complaint) as caught:
        read_token(token_file(tmp_path, text, mode), "CLEAVE_EDGE_HTTP_TOKEN")
    assert not text or text not in str(caught.value)


def test_a_token_that_is_not_there_is_the_operators_error(tmp_path: Path) -> None:
    """The setting and the path are named."""
    with pytest.raises(
        ConfigurationError, match=r"CLEAVE_EDGE_HTTP_TOKEN=.*none: cannot be read: No such file"
    ):
        read_token(tmp_path / "none", "CLEAVE_EDGE_HTTP_TOKEN")
