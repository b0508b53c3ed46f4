"""Facts about how a daemon's command runs: what it prints, and the exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

import pytest

from common.config import Settings, setting
from common.errors import (
    CleaveError,
    ConfigurationError,
    FrameError,
    LinkLostError,
    ModelError,
    ModelMismatchError,
)
from common.launch import read_settings, run_daemon


class SampleSettings(Settings):
    own_prefix: ClassVar[str] = "CLEAVE_EDGE_"
    foreign_prefix: ClassVar[str] = "CLEAVE_CLOUD_"

    model: str = setting("MODEL", help="which model")
    lanes: int = setting("EDGE_LANES", 2, ge=1, help="how many")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("CLEAVE_")]:
        monkeypatch.delenv(name)


def test_valid_settings_are_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment is read when the command runs, and flags override it."""
    monkeypatch.setenv("CLEAVE_MODEL", "tiny")
    monkeypatch.setenv("CLEAVE_EDGE_LANES", "3")
    settings = read_settings(SampleSettings, "cleave-edge", ["--lanes", "4"])
    assert isinstance(settings, SampleSettings)
    assert (settings.model, settings.lanes) == ("tiny", 4)


def test_mistakes_exit_with_78_and_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    """systemd does not restart on 78: only the operator can mend it, and is told each mistake on stderr."""
    assert read_settings(SampleSettings, "cleave-edge", ["--lanes", "0", "--x", "y"]) == 78
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.partition(": ")[0] for line in err.splitlines()] == ["cleave-edge"] * 3


def test_print_config_shows_what_can_be_read_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--print-config` prints an environment file of what is in force, and ends in success."""
    monkeypatch.setenv("CLEAVE_MODEL", "tiny")
    assert read_settings(SampleSettings, "cleave-edge", ["--print-config", "--lanes=5"]) == 0
    printed = capsys.readouterr().out
    assert printed == "CLEAVE_MODEL=tiny\nCLEAVE_EDGE_LANES=5\n"


def test_print_config_of_mistakes_is_still_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    """Settings that are not valid are not in force, so there is nothing to print."""
    assert read_settings(SampleSettings, "cleave-edge", ["--print-config"]) == 78
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_lists_the_settings_whatever_else_is_wrong(
    flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who asks for help gets it, with every flag."""
    assert read_settings(SampleSettings, "cleave-edge", ["--lanes", "0", flag]) == 0
    out = capsys.readouterr().out
    assert "usage: cleave-edge" in out
    assert "--model" in out
    assert "--lanes" in out


def failing(*errors: Exception) -> Callable[[], Coroutine[Any, Any, None]]:
    async def main() -> None:
        if len(errors) == 1:
            raise errors[0]
        raise ExceptionGroup("tasks", [errors[0], ExceptionGroup("more", list(errors[1:]))])

    return main


@pytest.mark.parametrize(
    ("errors", "status"),
    [
        ([ConfigurationError("wrong")], 78),
        ([ModelMismatchError("other")], 78),
        ([ModelError("untraceable")], 78),
        ([CleaveError("oh")], 1),
        ([LinkLostError("gone")], 1),
        ([FrameError("odd"), ConfigurationError("wrong"), LinkLostError("gone")], 78),
    ],
)
def test_errors_of_ours_are_lines_and_an_exit_code(
    errors: list[Exception], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Alone or in groups from tasks, each is one line on stderr; a configuration error decides the code."""
    assert run_daemon("cleave-cloud", failing(*errors)) == status
    said = capsys.readouterr().err.splitlines()
    assert sorted(said) == sorted(f"cleave-cloud: {error}" for error in errors)


def test_success_is_zero_and_bugs_are_not_hidden() -> None:
    """A daemon that ends in order returns 0; what is no error of ours keeps its traceback."""

    async def fine() -> None: ...

    assert run_daemon("cleave-cloud", fine) == 0
    with pytest.raises(ExceptionGroup) as group:
        run_daemon("cleave-cloud", failing(ZeroDivisionError("bug"), CleaveError("oh")))
    assert group.group_contains(ZeroDivisionError)


def test_a_daemon_that_is_aborted_prints_its_stacks() -> None:
    """As systemd's watchdog ends what hangs: by SIGABRT."""
    script = (
        "import os, signal; from common.launch import run_daemon\n"
        "async def hang(): os.kill(os.getpid(), signal.SIGABRT)\n"
        "run_daemon('cleave-edge', hang)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert "Fatal Python error: Aborted" in done.stderr
    assert "in hang" in done.stderr
