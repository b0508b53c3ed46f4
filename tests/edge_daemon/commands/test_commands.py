import sys

import pytest

from edge_daemon import __main__ as command
from edge_daemon.commands import COMMANDS


def test_help_names_every_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`cleave-edge --help` shows the daemon's settings and the commands beside it."""
    monkeypatch.setattr(sys, "argv", ["cleave-edge", "--help"])
    assert command.main() == 0
    out = capsys.readouterr().out
    assert "--sampling-fps" in out
    for name, described in COMMANDS.items():
        assert f"  {name}" in out
        assert described.summary in out


@pytest.mark.parametrize(("name", "hint"), [("pln", "did you mean plan?"), ("fly", "known: plan, map")])
def test_an_unknown_command_is_one_line_and_status_2(
    name: str, hint: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A word that is no command is not taken for the daemon's flags; the nearest command is named."""
    monkeypatch.setattr(sys, "argv", ["cleave-edge", name])
    assert command.main() == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert hint in err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`cleave-edge COMMAND --help` ends well, and names the command."""
    monkeypatch.setattr(sys, "argv", ["cleave-edge", name, "--help"])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 0
    assert f"usage: cleave-edge {name}" in capsys.readouterr().out


def test_without_a_command_it_is_the_daemon(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flags alone are the daemon's settings."""
    monkeypatch.setattr(sys, "argv", ["cleave-edge", "--print-config"])
    monkeypatch.delenv("CLEAVE_EDGE_MODEL", raising=False)
    command.main()
    assert "CLEAVE_" in "".join(capsys.readouterr())
