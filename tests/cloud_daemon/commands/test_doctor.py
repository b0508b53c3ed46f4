"""Facts about `cleave-cloud doctor`: what is planted is found, with its cure. The edge's tests have the rest."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cloud_daemon.commands import doctor
from common.doctor import command as doctor_command
from common.doctor import places
from common.doctor.unit import UnitFacts
from tests.certificates import NOW, files, rack
from tests.cloud_daemon.edge import free_port
from tests.common.doctor.test_machine import HEALTHY as HEALTHY_MACHINE
from tests.common.doctor.test_unit import RUNNING
from tests.models.test_runtime_findings import facts as runtime

Settings = dict[str, str]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Those of a healthy installation."""
    monkeypatch.setattr(doctor, "probe_runtime", lambda *_: runtime())
    machine = replace(HEALTHY_MACHINE, now=NOW.timestamp(), installed_at=0.0)
    monkeypatch.setattr(doctor, "look_at_machine", lambda: machine)
    monkeypatch.setattr(doctor, "_try_filter", lambda _: "")
    monkeypatch.setattr(places, "_free_mb", lambda _: 5000)
    unit = RUNNING | {"PrivateTmp": "no", "ProtectSystem": "full", "MainPID": "0"}
    monkeypatch.setattr(doctor_command, "look_at_unit", lambda name: UnitFacts(name, unit))
    (tmp_path / "edges").write_text("porch\n")
    return {
        "CLEAVE_MODEL": "resnet18",
        "CLEAVE_CLOUD_LISTEN": f"127.0.0.1:{free_port()}",
        "CLEAVE_CLOUD_IPERF_PORT": str(free_port()),
        "CLEAVE_CLOUD_HTTP": f"127.0.0.1:{free_port()}",
        "CLEAVE_CLOUD_STATE_DIR": str(tmp_path / "state"),
        "CLEAVE_CLOUD_TLS": str(rack(tmp_path / "tls").directory),
        "CLEAVE_CLOUD_ALLOW": f"@{tmp_path}/edges",
    }


def examined(
    settings: Settings, home: Path, capsys: pytest.CaptureFixture[str]
) -> tuple[int, list[dict[str, str]]]:
    file = home / "cloud.env"
    file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    status = doctor.main(["--env-file", str(file), "--json"])
    return status, json.loads(capsys.readouterr().out)["findings"]


def test_a_healthy_installation_is_healthy(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ports, certificate and list are looked at, too."""
    status, findings = examined(settings, tmp_path, capsys)
    assert [finding for finding in findings if finding["verdict"] != "ok"] == []
    assert status == 0
    assert {"port", "iperf3 port", "certificate", "list of edges"} <= {
        finding["what"] for finding in findings
    }


@pytest.fixture
def held() -> Iterator[int]:
    """A port that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


@pytest.mark.parametrize(
    ("plant", "what", "said", "cure"),
    [
        (
            lambda s, held: s.update(CLEAVE_CLOUD_LISTEN=f"127.0.0.1:{held}"),
            "port",
            "in use by",
            "another port",
        ),
        (
            lambda s, held: s.update(CLEAVE_CLOUD_IPERF_PORT=str(held)),
            "iperf3 port",
            "in use by",
            "IPERF_PORT",
        ),
        (lambda s, held: s.update(CLEAVE_CLOUD_HTTP=f"127.0.0.1:{held}"), "page", "in use by", "CLOUD_HTTP"),
        (lambda s, held: s.update(CLEAVE_CLOUD_HTTP_TOKEN="/nothing"), "page", "No such file", "openssl"),
        (
            lambda s, held: s.update(CLEAVE_CLOUD_LISTEN="192.0.2.1:7400"),
            "port",
            "no such address",
            "0.0.0.0",
        ),
        (
            lambda s, held: s.update(
                CLEAVE_CLOUD_TLS="", CLEAVE_CLOUD_ALLOW="", CLEAVE_CLOUD_LISTEN="0.0.0.0:0"
            ),
            "certificate",
            "everybody who can reach",
            "pki init",
        ),
        (
            lambda s, held: s.update(CLEAVE_CLOUD_TLS="", CLEAVE_CLOUD_ALLOW="", CLEAVE_CLOUD_INSECURE="1"),
            "certificate",
            "INSECURE",
            "pki issue",
        ),
        (
            lambda s, held: s.update(CLEAVE_CLOUD_TLS=""),
            "certificate",
            "needs CLEAVE_CLOUD_TLS",
            "take the list",
        ),
        (
            lambda s, held: s.update(CLEAVE_CLOUD_ALLOW="@/nothing"),
            "list of edges",
            "No such file",
            "readable",
        ),
        (lambda s, held: s.update(CLEAVE_CLOUD_ALLOW=","), "list of edges", "no names", "add some"),
        (
            lambda s, held: s.update(CLEAVE_WEIGHTS="/w.safetensors"),
            "weights",
            "does not exist",
            "bring the file",
        ),
        (lambda s, held: s.update(CLEAVE_CLOUD_PORT="1"), "settings", "no such setting", "configuration.md"),
    ],
)
def test_each_planted_fault_is_found_with_its_cure(
    plant: Callable[[Settings, int], None],
    what: str,
    said: str,
    cure: str,
    settings: Settings,
    held: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is wrong, in words, and what mends it."""
    plant(settings, held)
    _, findings = examined(settings, tmp_path, capsys)
    bad = [finding for finding in findings if finding["verdict"] != "ok"]
    assert [f for f in bad if f["what"] == what and said in f["said"] and cure in f["cure"]], bad


def test_an_edges_certificate_is_none_of_a_cloud(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the daemon itself would say."""
    settings["CLEAVE_CLOUD_TLS"] = str(files(tmp_path / "edge", "porch").directory)
    status, findings = examined(settings, tmp_path, capsys)
    assert status == 1
    assert any("certificate of the edge porch" in finding["said"] for finding in findings)


def test_a_kernel_that_refuses_the_filter_costs_iperf3_only() -> None:
    """Edges measure by pings; it is a warning."""
    assert doctor.check_filter("").cure == ""
    assert doctor.check_filter("Operation not permitted").verdict == "warn"
