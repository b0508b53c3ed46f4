"""Facts about judging a service by what systemd tells of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.doctor.finding import Verdict
from common.doctor.unit import (
    UnitFacts,
    check_devices,
    check_sandbox,
    check_unit,
    look_at_unit,
    parse_properties,
)

RUNNING = {
    "LoadState": "loaded",
    "UnitFileState": "enabled",
    "ActiveState": "active",
    "SubState": "running",
    "ExecMainStatus": "0",
    "NRestarts": "0",
    "MainPID": "77",
    "StatusText": "edge-only; no cloud; 3 frames answered",
    "User": "cleave-edge",
    "Environment": "CLEAVE_EDGE_STATE_DIR=/var/lib/cleave-edge TORCH_HOME=/var/lib/cleave-edge/torch",
    "ProtectHome": "yes",
    "ProtectSystem": "strict",
    "PrivateTmp": "yes",
    "StateDirectory": "cleave-edge",
    "ReadWritePaths": "",
    "DevicePolicy": "closed",
    "DeviceAllow": "",
}


def unit(**changes: str) -> UnitFacts:
    return UnitFacts("cleave-edge.service", {**RUNNING, **changes})


def test_a_running_service_is_well_and_says_what_it_does() -> None:
    """Its status is the daemon's own line."""
    (finding,) = check_unit(unit(), "edge")
    assert finding.verdict is Verdict.OK
    assert "active (running): edge-only; no cloud" in finding.said


@pytest.mark.parametrize(
    ("changes", "what", "verdict", "said", "cure"),
    [
        ({"LoadState": "not-found"}, "service", "warn", "not installed", "make install-edge"),
        ({"LoadState": "bad-setting"}, "service", "fail", "bad-setting", "systemd-analyze verify"),
        (
            {"ActiveState": "failed", "ExecMainStatus": "78"},
            "service",
            "fail",
            "status 78",
            "systemctl start",
        ),
        ({"ActiveState": "failed", "ExecMainStatus": "1"}, "service", "fail", "status 1", "journalctl -u"),
        ({"NRestarts": "40"}, "service", "warn", "40 times", "journalctl -u"),
        ({"UnitFileState": "disabled"}, "start", "warn", "does not start with", "systemctl enable"),
    ],
)
def test_each_fault_has_its_cure(
    changes: dict[str, str], what: str, verdict: str, said: str, cure: str
) -> None:
    """Of the unit and of the run."""
    (finding,) = [finding for finding in check_unit(unit(**changes), "edge") if finding.cure]
    assert (finding.what, finding.verdict) == (what, verdict)
    assert said in finding.said
    assert cure in finding.cure


@pytest.mark.parametrize(
    ("reads", "writes", "said", "cure"),
    [
        ({"CLEAVE_EDGE_SOURCE": "/home/pi/frames"}, {}, "no home directories", "BindPaths=/home/pi"),
        ({"CLEAVE_EDGE_SOURCE": "/tmp/frames"}, {}, "a /tmp of its own", "/var/lib/cleave-edge"),
        (
            {},
            {"CLEAVE_EDGE_RESULTS": "/srv/out/r.jsonl"},
            "only to /var/lib/cleave-edge",
            "ReadWritePaths=/srv/out",
        ),
        ({}, {"CLEAVE_EDGE_RESULTS": "/root/r.jsonl"}, "no home directories", "BindPaths=/root"),
    ],
)
def test_what_the_sandbox_hides_is_found(
    reads: dict[str, str], writes: dict[str, str], said: str, cure: str
) -> None:
    """The permissions may be right, and the daemon sees nothing all the same."""
    as_paths = [{name: Path(path) for name, path in paths.items()} for paths in (reads, writes)]
    (finding,) = check_sandbox(unit(), *as_paths)
    assert finding.verdict is Verdict.FAIL
    assert said in finding.said
    assert cure in finding.cure


def test_what_drop_ins_open_is_open() -> None:
    """Paths that are bound or writable by the unit, and the state directory itself."""
    writes = {
        "CLEAVE_EDGE_RESULTS": Path("/srv/out/r.jsonl"),
        "CLEAVE_EDGE_STATE_DIR": Path("/var/lib/cleave-edge"),
    }
    reads = {"CLEAVE_EDGE_SOURCE": Path("/home/pi/frames")}
    opened = unit(ReadWritePaths="-/srv/out", BindReadOnlyPaths="/home/pi/frames:/home/pi/frames:rbind")
    assert [finding.verdict for finding in check_sandbox(opened, reads, writes)] == [Verdict.OK]
    assert check_sandbox(UnitFacts("cleave-edge.service", {}), reads, writes) == []


def test_devices_are_shut_out_unless_a_variant_lets_them_in() -> None:
    """The cure is the variant's name."""
    (finding,) = check_devices(unit(), "camera", "char-video4linux", "camera", "edge")
    assert "allows no char-video4linux" in finding.said
    assert "VARIANTS=camera" in finding.cure
    with_camera = unit(DeviceAllow="char-video4linux rw")
    assert check_devices(with_camera, "camera", "char-video4linux", "camera", "edge") == []
    assert check_devices(UnitFacts("x", {}), "camera", "char-video4linux", "camera", "edge") == []


def test_properties_are_read_as_systemctl_prints_them() -> None:
    """A value may hold `=`; a name may come again."""
    text = "User=cleave-edge\nEnvironment=A=1 B=2\nDeviceAllow=/dev/a rw\nDeviceAllow=/dev/b r\n\n"
    facts = UnitFacts("x", parse_properties(text))
    assert facts["DeviceAllow"] == "/dev/a rw /dev/b r"
    assert facts.environment == {"A": "1", "B": "2"}
    assert (facts["nothing"], facts.pid, facts.installed) == ("", 0, False)


def test_without_systemd_nothing_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing raises."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not look_at_unit("cleave-edge.service").installed
