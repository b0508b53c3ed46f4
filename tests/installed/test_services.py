"""Both daemons as services of a real systemd, in one machine's life: installed, started, broken, upgraded, removed.

The tests are in the order of that life, and each leaves the machine as the next one needs it.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.installed.conftest import make
from tests.installed.container import Container

pytestmark = pytest.mark.timeout(1800)

MODEL = "squeezenet1_1"
SERVICES = ("cleave-cloud", "cleave-edge")
RESULTS = "var/lib/cleave-edge/results.jsonl"
WATCHDOG_S = 30.0


def until(what: str, condition: Callable[[], bool], most_s: float) -> float:
    """Wait until `condition` holds; return how long it took, in seconds. The time is a limit, not a measurement."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < most_s, f"{what}: not within {most_s:g} s"
        time.sleep(0.2)
    return time.monotonic() - begun


def records(machine: Container) -> list[dict[str, Any]]:
    """The records of frames that are on the disk, whole lines only."""
    path = machine.root / RESULTS
    whole = path.read_text().rpartition("\n")[0] if path.exists() else ""
    return [json.loads(line) for line in whole.splitlines()]


def _pictures() -> Iterator[bytes]:
    rng = np.random.default_rng(0)
    while True:
        coarse = Image.fromarray(rng.integers(0, 256, size=(12, 16, 3), dtype=np.uint8))
        buffer = io.BytesIO()
        coarse.resize((320, 240)).save(buffer, "JPEG")
        yield buffer.getvalue()


pictures = _pictures()


def answers(machine: Container, count: int, most_s: float = 60.0) -> list[dict[str, Any]]:
    """Have `count` more frames answered; return their records."""
    before = len(records(machine))
    frames = machine.root / "var/lib/cleave-edge/frames"
    for number in range(before, before + count):
        scratch = frames / f".frame-{number:04d}"
        scratch.write_bytes(next(pictures))
        scratch.rename(frames / f"frame-{number:04d}.jpg")
    until(f"{count} answers", lambda: len(records(machine)) >= before + count, most_s)
    return records(machine)[before:]


def change(machine: Container, file: str, **settings: str) -> None:
    """Change settings in an environment file, as an administrator does."""
    path = machine.root / "etc" / "cleave" / file
    lines = [line for line in path.read_text().splitlines() if line.partition("=")[0] not in settings]
    path.write_text("\n".join([*lines, *(f"{name}={value}" for name, value in settings.items())]) + "\n")


def restarts(machine: Container, service: str) -> int:
    return int(machine.unit(service, "NRestarts"))


def main_pid(machine: Container, service: str) -> str:
    return machine.unit(service, "MainPID")


def test_what_is_not_set_up_yet_is_told_and_not_tried_again(machine: Container) -> None:
    """Installed, enabled, and without a certificate: the start fails with 78, once, and doctor names the cure."""
    assert machine.run("systemctl start cleave-edge", check=False).returncode != 0
    assert machine.unit("cleave-edge", "ExecMainStatus") == "78"
    assert restarts(machine, "cleave-edge") == 0
    told = machine.run("cleave-edge doctor", check=False, timeout_s=300)
    assert told.returncode == 1
    assert "cert.pem is missing" in told.stdout
    assert "ended with status 78" in told.stdout
    assert "cleave-cloud pki issue" in told.stdout


def test_certificates_and_settings_and_both_start(machine: Container) -> None:
    """As the documentation says; `systemctl start` returns when each has loaded its model and run it once."""
    machine.run("cleave-cloud pki init")
    machine.run("cleave-cloud pki issue rack --cloud --host localhost --out /etc/cleave/cloud-tls")
    machine.run("cleave-cloud pki issue porch --out /etc/cleave/edge-tls --days 20")
    same = {"CLEAVE_MODEL": MODEL, "CLEAVE_WEIGHTS": "random:0"}
    change(machine, "cloud.env", **same)
    change(machine, "edge.env", CLEAVE_EDGE_CLOUD="localhost:7400", **same)
    for service in SERVICES:
        machine.run(f"systemctl start {service}", timeout_s=300)
        assert machine.unit(service, "ActiveState") == "active"
        assert machine.unit(service, "NotifyAccess") == "main"
        assert "model ready" in machine.journal(service)
    until("the link", lambda: "cloud connected" in machine.unit("cleave-edge", "StatusText"), 60)


def test_frames_are_answered_by_the_cloud_over_tls(machine: Container) -> None:
    """With the plan fixed to the cloud each record says so: TLS, the sandbox and the two users let it through."""
    change(machine, "edge.env", CLEAVE_EDGE_PLAN="cloud-only")
    machine.run("systemctl restart cleave-edge", timeout_s=300)
    until("the link", lambda: "cloud connected" in machine.unit("cleave-edge", "StatusText"), 60)
    assert {record["ran"] for record in answers(machine, 10)} == {"cloud"}
    until("the count", lambda: "10 frames answered" in machine.unit("cleave-edge", "StatusText"), 30)


def test_the_sandbox_leaves_torch_all_cores_and_its_kernels(machine: Container) -> None:
    """What torch sees within the unit's restrictions is what it sees outside: threads and vector instructions."""
    script = "import torch; print(torch.get_num_threads(), torch.backends.cpu.get_cpu_capability())"
    python = f"/opt/cleave/venv/bin/python -c '{script}'"
    unit = (machine.root / "usr/local/lib/systemd/system/cleave-edge.service").read_text()
    lines = [
        line
        for line in unit.splitlines()
        if not line.startswith(("Exec", "Type=", "Watchdog", "Restart", "StateDirectory", "RuntimeDirectory"))
    ]
    lines.insert(lines.index("[Service]") + 1, f"Type=oneshot\nExecStart={python}")
    (machine.root / "etc/systemd/system/look.service").write_text("\n".join(lines))
    machine.run("systemctl daemon-reload && systemctl start look", timeout_s=120)
    inside = [line for line in machine.journal("look").splitlines() if line[:1].isdigit()]
    assert inside == [machine.says(python)]
    machine.run("rm /etc/systemd/system/look.service && systemctl daemon-reload")


def test_a_renewed_certificate_is_in_force_after_a_reload(machine: Container) -> None:
    """No restart: root hands the new files over, the daemon reads them; keys stay unreadable for everybody else."""
    before = main_pid(machine, "cleave-edge")
    assert "certificate ends soon" in machine.journal("cleave-edge")
    machine.run("cleave-cloud pki issue porch --out /etc/cleave/edge-tls --days 300 --replace")
    machine.run("systemctl reload cleave-edge cleave-cloud")
    until("the log", lambda: "certificates read again" in machine.journal("cleave-edge"), 20)
    assert '"days_left": 300' in machine.journal("cleave-edge")
    assert main_pid(machine, "cleave-edge") == before
    assert machine.unit("cleave-edge", "ActiveState") == "active"
    mode = machine.says("stat -L -c '%U %a' /run/cleave-edge/tls/key.pem")
    assert mode == "cleave-edge 400"
    assert "key" not in machine.says(f"tr '\\0' '\\n' < /proc/{before}/environ").lower()


def test_a_password_is_handed_over_and_nobody_else_can_read_it(machine: Container) -> None:
    """Root keeps it; the daemon has a copy at the start, and the new one after a reload."""
    kept, handed = "/etc/cleave/edge-secrets", "/run/cleave-edge/secrets/page"
    machine.run(f"umask 077; openssl rand -hex 24 > {kept}/page || echo 0123456789abcdef0123 > {kept}/page")
    change(machine, "edge.env", CLEAVE_EDGE_HTTP_TOKEN=handed)
    machine.run("systemctl restart cleave-edge", timeout_s=300)
    assert machine.says(f"stat -c '%U %a' {kept}") == "root 700"
    assert machine.says(f"stat -L -c '%U %a' {handed}") == "cleave-edge 400"
    assert machine.run(f"cmp {kept}/page {handed}").returncode == 0
    # Without an f-string's doubled braces: the script asks with the token, then without.
    script = (
        "import urllib.error, urllib.request as r; url = 'http://127.0.0.1:7480/status'; "
        "token = open('HANDED').read().strip(); "
        "print(r.urlopen(r.Request(url, headers={'Authorization': 'Bearer ' + token})).status); "
        "r.urlopen(url)"
    ).replace("HANDED", handed)
    asked = machine.run(f'python3 -c "{script}"', check=False)
    assert asked.stdout.strip() == "200"
    assert "401" in asked.stderr
    machine.run(f"umask 077; echo another-token-0123456789 > {kept}/page && systemctl reload cleave-edge")
    until("the new one", lambda: "another" in machine.says(f"cat {handed}"), 20)


def test_doctor_finds_a_healthy_installation_healthy(machine: Container) -> None:
    """Each looks as the service's own user, and leaves nothing behind; nothing is broken, and the edge is greeted."""
    for service in SERVICES:
        told = json.loads(machine.says(f"cd /src && {service} doctor --json", timeout_s=300))
        assert [finding for finding in told["findings"] if finding["verdict"] == "fail"] == []
        parts = {finding["what"]: finding["verdict"] for finding in told["findings"]}
        assert parts["onnxruntime"] == "ok", "the optional part that make install-… asks for"
    assert "torch" not in machine.says("ls /tmp")
    greeting = next(finding for finding in told["findings"] if finding["what"] == "greeting")
    assert "holds the same model; TLS 1.3" in greeting["said"]


@pytest.mark.parametrize("service", SERVICES)
def test_kill_9_is_followed_by_a_restart(machine: Container, service: str) -> None:
    """A few seconds later it works again, and no frame is lost."""
    before, count = main_pid(machine, service), restarts(machine, service)
    machine.run(f"kill -9 {before}")
    gone = until("a restart", lambda: restarts(machine, service) == count + 1, 30)
    ready = until("readiness", lambda: machine.unit(service, "ActiveState") == "active", 120)
    print(f"{service}: started again {gone:.1f} s after kill -9, ready {ready:.1f} s later")
    assert main_pid(machine, service) not in ("0", before)
    assert all(record["error"] is None for record in answers(machine, 5, 120))


@pytest.mark.parametrize("service", SERVICES)
def test_a_stopped_daemon_is_restarted_by_the_watchdog(machine: Container, service: str) -> None:
    """SIGSTOP: no progress, no word to systemd; within the watchdog's period and a little it is ended and started."""
    before, count = main_pid(machine, service), restarts(machine, service)
    machine.run(f"kill -STOP {before}")
    waited = until("a restart", lambda: restarts(machine, service) == count + 1, WATCHDOG_S + 30)
    assert waited > WATCHDOG_S / 3, "so soon it cannot have been the watchdog"
    ready = until("readiness", lambda: machine.unit(service, "ActiveState") == "active", 120)
    print(f"{service}: started again {waited:.1f} s after SIGSTOP, ready {ready:.1f} s later")
    assert "Watchdog timeout" in machine.says(f"journalctl --no-pager --unit {service}")
    answers(machine, 5, 120)


def test_stopping_takes_less_than_ten_seconds_and_is_no_failure(machine: Container) -> None:
    """SIGTERM drains; systemd needs no SIGKILL."""
    for service in SERVICES:
        machine.run(f"systemctl stop {service}", timeout_s=20)
        assert machine.unit(service, "Result") == "success"
        assert "stopped" in machine.journal(service)
    machine.run("systemctl start cleave-cloud cleave-edge", timeout_s=300)


def test_an_upgrade_keeps_what_is_yours(machine: Container) -> None:
    """Settings, certificates, state and results are as they were; the daemon runs the new program."""
    kept = "/etc/cleave /var/lib/cleave-edge/results.jsonl"
    digest = f"find {kept} -type f ! -name '*.example' -exec sha256sum {{}} + | sort"
    change(machine, "edge.env", CLEAVE_LOG_LEVEL="debug")
    before, pid = machine.says(digest), main_pid(machine, "cleave-edge")
    said = make(machine, "install-edge", "VARIANTS=camera")
    assert "is upgraded and runs" in said
    assert machine.says(digest) == before
    assert main_pid(machine, "cleave-edge") not in ("0", pid)
    assert machine.unit("cleave-edge", "ActiveState") == "active"
    answers(machine, 5, 120)


def test_a_variant_lets_cameras_in_and_stays_through_upgrades(machine: Container) -> None:
    """The drop-in is in force, and the group of cameras with it."""
    assert "char-video4linux" in machine.unit("cleave-edge", "DeviceAllow")
    assert machine.unit("cleave-edge", "SupplementaryGroups") == "video"
    video = machine.says("getent group video | cut -d: -f3")
    groups = machine.says(f"grep ^Groups: /proc/{main_pid(machine, 'cleave-edge')}/status").split()
    assert video in groups
    make(machine, "install-edge")
    assert "char-video4linux" in machine.unit("cleave-edge", "DeviceAllow")


def test_uninstalling_keeps_what_is_yours_and_purging_leaves_nothing(machine: Container) -> None:
    """With one daemon gone the other one keeps its program; with both gone and PURGE=1 no file of ours is left."""
    make(machine, "uninstall-edge")
    assert machine.unit("cleave-edge", "LoadState") == "not-found"
    assert machine.unit("cleave-cloud", "ActiveState") == "active"
    assert (machine.root / RESULTS).exists()
    assert (machine.root / "etc/cleave/edge.env").exists()
    make(machine, "uninstall-edge", "PURGE=1")
    make(machine, "uninstall-cloud", "PURGE=1")
    places = "/etc /opt /usr/local /var/lib /run /home /tmp"
    left = machine.says(f"find {places} -iname '*cleave*' -o -path /opt/cleave 2>/dev/null; true")
    assert left == ""
    assert "cleave" not in machine.says("cat /etc/passwd /etc/group")
    assert "cleave" not in machine.says("systemctl list-units --all --no-pager --plain | cat")
