"""Facts about the installation script, as far as they need no machine to install on (tests/installed has that)."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SYSTEMD = Path(__file__).parent.parent.parent / "systemd"
NOBODY = 65534


def script(
    *arguments: str, environment: dict[str, str] | None = None, user: int | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(SYSTEMD / "install.sh"), *arguments],
        env={"PATH": os.environ["PATH"], **(environment or {})},
        user=user,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "usage:"),
        (("install",), "usage:"),
        (("remove", "edge"), "remove: expected install or uninstall"),
        (("install", "fog"), "fog: expected edge or cloud"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(arguments: tuple[str, ...], said: str) -> None:
    """Before anything is touched."""
    done = script(*arguments)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_only_root_may_install() -> None:
    """Somebody else is told to say sudo."""
    done = script("install", "edge", user=NOBODY)
    assert (done.returncode, done.stdout) == (1, "")
    assert "sudo make install-edge" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root comes so far")
@pytest.mark.skipif(Path("/run/systemd/system").exists(), reason="systemd runs here")
def test_without_systemd_nothing_is_installed() -> None:
    """The message names what can be done instead."""
    done = script("install", "cloud")
    assert done.returncode == 1
    assert "systemd does not run on this machine; set DESTDIR" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root comes so far")
@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"PYTHON": "python-of-nowhere"}, "apt-get install python3 python3-venv"),
        (
            {"VARIANTS": "camera periscope"},
            "VARIANTS=periscope: cleave-edge has camera.conf nvidia.conf, or none",
        ),
    ],
)
def test_what_is_missing_is_told_before_anything_is_made(
    environment: dict[str, str], said: str, tmp_path: Path
) -> None:
    """An interpreter that is not there, a variant that is none."""
    done = script("install", "edge", environment={"DESTDIR": str(tmp_path), **environment})
    assert done.returncode == 1
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


def hand_over(runtime: Path, *source: Path, credentials: Path | None = None) -> None:
    environment = {"PATH": os.environ["PATH"]}
    if credentials is not None:
        environment["CREDENTIALS_DIRECTORY"] = str(credentials)
    command = ["sh", str(SYSTEMD / "hand-over-credentials"), str(runtime), *map(str, source)]
    subprocess.run(command, env=environment, check=True, timeout=30)


CREDENTIALS = {"tls": ("cert.pem", "key.pem", "ca.pem"), "secrets": ("camera", "mqtt")}


def test_credentials_come_from_systemd_at_the_start_and_from_root_later(tmp_path: Path) -> None:
    """First as links to systemd's copies; on reload as files that only the runtime directory's owner may read."""
    runtime, credentials = (tmp_path / name for name in ("runtime", "credentials"))
    for directory in (runtime, credentials):
        directory.mkdir()
    for kind, names in CREDENTIALS.items():
        (tmp_path / f"edge-{kind}").mkdir()
        for name in names:
            (credentials / f"{kind}_{name}").write_text(f"old {name}")
            (tmp_path / f"edge-{kind}" / name).write_text(f"new {name}")
    hand_over(runtime, credentials=credentials)
    assert (runtime / "tls" / "key.pem").read_text() == "old key.pem"
    first = [(runtime / kind).resolve() for kind in CREDENTIALS]
    hand_over(runtime, tmp_path / "edge")
    for kind, names in CREDENTIALS.items():
        handed = runtime / kind
        assert {path.name: path.read_text() for path in handed.iterdir()} == {
            name: f"new {name}" for name in names
        }
        assert {path.stat().st_mode & 0o777 for path in handed.iterdir()} == {0o400}
        assert handed.resolve().stat().st_mode & 0o777 == 0o700
    assert not any(directory.exists() for directory in first)
    assert {path.name.partition(".")[0] for path in runtime.iterdir()} == set(CREDENTIALS)
    assert len(list(runtime.iterdir())) == 2 * len(CREDENTIALS)


def test_without_credentials_there_are_empty_directories(tmp_path: Path) -> None:
    """The daemon then says which file is missing, where its setting asks for one."""
    hand_over(tmp_path)
    assert [list((tmp_path / kind).iterdir()) for kind in CREDENTIALS] == [[], []]


def test_the_scripts_are_plain_shell() -> None:
    """The shell of a small system can read them; shellcheck, where it is installed, finds nothing."""
    for name in ("install.sh", "hand-over-credentials"):
        subprocess.run(["sh", "-n", str(SYSTEMD / name)], check=True, timeout=30)
        assert os.access(SYSTEMD / name, os.X_OK)
        if shutil.which("shellcheck"):
            subprocess.run(["shellcheck", "-s", "sh", str(SYSTEMD / name)], check=True, timeout=60)
