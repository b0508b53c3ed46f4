"""What systemd itself says of the units: no mistakes, and how far the daemons are shut in."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cloud_daemon.config import CloudSettings
from common.config import Settings
from edge_daemon.config import EdgeSettings

SOURCES = Path(__file__).parent.parent.parent / "systemd"
MOST_EXPOSED = {"cleave-edge": 1.6, "cleave-cloud": 1.5}
"""0 is shut in completely, 10 is as free as root."""
MOST_EXPOSED_WITH_DEVICES = 2.0
VARIANTS = sorted(
    (path.parent.name.partition(".")[0], path.stem) for path in SOURCES.glob("cleave-*.service.d/*.conf")
)

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="no systemd-analyze here: apt-get install systemd"
)


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def unit(directory: Path, service: str, *variants: str) -> Path:
    """Lay a unit out as it is installed, with the programs it calls in `directory`."""
    for program in ("venv/bin/cleave-edge", "venv/bin/cleave-cloud", "libexec/hand-over-credentials"):
        path = directory / "opt" / program
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o755)
    text = (SOURCES / f"{service}.service").read_text()
    installed = directory / f"{service}.service"
    installed.write_text(text.replace("/opt/cleave/", f"{directory}/opt/"))
    for variant in variants:
        drop_in = directory / f"{service}.service.d" / f"{variant}.conf"
        drop_in.parent.mkdir(exist_ok=True)
        shutil.copy(SOURCES / f"{service}.service.d" / f"{variant}.conf", drop_in)
    return installed


def exposure(path: Path, most: float) -> float:
    """How exposed a unit is; more than `most` is an error that shows by what."""
    done = analyze("security", "--offline=true", f"--threshold={round(most * 10)}", str(path))
    found = re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    assert done.returncode == 0, done.stdout
    return float(found[1])


@pytest.mark.parametrize("service", MOST_EXPOSED)
def test_systemd_finds_no_mistake_in_a_unit(service: str, tmp_path: Path) -> None:
    """`systemd-analyze verify` has nothing to say."""
    done = analyze("verify", "--man=no", str(unit(tmp_path, service)))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_check_sees_a_mistake(tmp_path: Path) -> None:
    """The test above can fail."""
    path = unit(tmp_path, "cleave-edge")
    path.write_text(path.read_text().replace("NoNewPrivileges=", "NoNewPrivilege="))
    assert "NoNewPrivilege" in analyze("verify", "--man=no", str(path)).stderr


@pytest.mark.parametrize("service", MOST_EXPOSED)
def test_a_daemon_is_shut_in(service: str, tmp_path: Path) -> None:
    """Within what is promised; a bare unit has 9.2."""
    exposure(unit(tmp_path, service), MOST_EXPOSED[service])


@pytest.mark.parametrize(("service", "variant"), VARIANTS)
def test_so_it_is_with_devices(service: str, variant: str, tmp_path: Path) -> None:
    """A camera or a GPU opens the unit for that and for little else; systemd finds no mistake in it either."""
    path = unit(tmp_path, service, variant)
    exposure(path, MOST_EXPOSED_WITH_DEVICES)
    done = analyze("verify", "--man=no", str(path))
    assert (done.returncode, done.stderr) == (0, "")


def test_the_measure_sees_an_open_unit(tmp_path: Path) -> None:
    """Without the restrictions the threshold is broken."""
    path = unit(tmp_path, "cleave-edge")
    text = path.read_text()
    path.write_text(
        "\n".join(
            line for line in text.splitlines() if not re.match("(Protect|Private|Restrict|System)", line)
        )
    )
    done = analyze("security", "--offline=true", "--threshold=16", str(path))
    assert done.returncode != 0


@pytest.mark.parametrize("service", MOST_EXPOSED)
def test_every_setting_in_an_example_is_one(service: str) -> None:
    """Also those that are comments: a typo would end the daemon with 78."""
    role = service.removeprefix("cleave-")
    kinds: dict[str, type[Settings]] = {"edge": EdgeSettings, "cloud": CloudSettings}
    text = (SOURCES / f"{role}.env.example").read_text()
    named = dict(re.findall(r"^#? ?(CLEAVE_\w+)=(.*)$", text, re.MULTILINE))
    assert len(named) > 8
    if role == "cloud":
        named["CLEAVE_CLOUD_INSECURE"] = "0"
    kinds[role].load(named)


def test_what_the_units_must_not_set_is_not_set() -> None:
    """Both break or slow torch; the comment that says so is no setting."""
    for service in MOST_EXPOSED:
        lines = (SOURCES / f"{service}.service").read_text().splitlines()
        settings = [line for line in lines if not line.startswith("#")]
        assert not any(line.startswith(("MemoryDenyWriteExecute", "ProcSubset")) for line in settings)
        for promised in (
            "Type=notify",
            "WatchdogSec=30",
            "Restart=always",
            "RestartSec=2",
            "StartLimitIntervalSec=0",
            "RestartPreventExitStatus=78",
            "TimeoutStopSec=10",
        ):
            assert promised in settings
