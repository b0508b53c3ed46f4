"""Facts about judging where a daemon's page is to be served."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from common.config import Address
from common.doctor.finding import Verdict
from common.doctor.page import check_page

HERE = Address(host="127.0.0.1", port=0)
SETTING = "CLEAVE_EDGE_HTTP"


def test_a_page_on_this_machine_needs_a_free_port_only() -> None:
    """And none at all is well, too."""
    assert check_page("edge", HERE, None, SETTING, 0).verdict is Verdict.OK
    assert check_page("edge", "off", None, SETTING, 0).verdict is Verdict.OK


def test_a_port_in_use_is_told() -> None:
    """With the setting that names it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        held = Address(host="127.0.0.1", port=listener.getsockname()[1])
        finding = check_page("edge", held, None, SETTING, 0)
    assert finding.verdict is Verdict.FAIL
    assert SETTING in finding.said
    assert "in use" in finding.said


@pytest.mark.parametrize(
    ("token", "mode", "said"),
    [
        (None, 0, "everybody who can reach"),
        ("short", 0o600, "16 to 512"),
        ("a token that is long enough", 0o644, "anybody"),
    ],
)
def test_a_page_for_others_needs_a_token_that_is_a_secret(
    token: str | None, mode: int, said: str, tmp_path: Path
) -> None:
    """As the daemon itself would say when it starts, with a way to make one."""
    file = None
    if token is not None:
        file = tmp_path / "token"
        file.write_text(token)
        file.chmod(mode)
    finding = check_page("edge", Address(host="0.0.0.0", port=0), file, SETTING, 0)
    assert finding.verdict is Verdict.FAIL
    assert said in finding.said
    assert "openssl rand" in f"{finding.said} {finding.cure}"
