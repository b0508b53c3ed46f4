"""Facts about `cleave-edge doctor`: each fault that is planted in an installation is found, with its cure.

The installation is real as far as it can be: its settings are an environment file, its directories, certificates and
cloud are there. What a test cannot break (torch, the clock, systemd) is told as the probes would tell it.
"""

from __future__ import annotations

import asyncio
import datetime
import json
import os
import shutil
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from common.doctor import command as doctor_command
from common.doctor import places
from common.doctor.machine import MachineFacts
from common.doctor.unit import UnitFacts
from common.tls.contexts import cloud_context
from common.wire.messages import Refused
from edge_daemon.commands import doctor
from models.runtime_findings import RuntimeFacts
from tests.certificates import NOW, authority, files, rack
from tests.cloud_daemon.edge import free_port
from tests.common.doctor.test_machine import HEALTHY as HEALTHY_MACHINE
from tests.common.doctor.test_unit import RUNNING
from tests.edge_daemon.fake_cloud import FakeCloud, FakeSession
from tests.models.test_runtime_findings import facts as runtime


class CloudNearby:
    """A cloud in a thread of its own: a command has no event loop."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self.cloud = FakeCloud()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._server = self._do(self._listen(context))
        self.port: int = self._server.sockets[0].getsockname()[1]

    async def _listen(self, context: ssl.SSLContext | None) -> asyncio.Server:
        return await self._loop.create_server(
            lambda: FakeSession(self.cloud).channel, "127.0.0.1", 0, ssl=context
        )

    def _do(self, what: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(10)

    async def _close(self) -> None:
        self._server.close()
        for session in self.cloud.sessions:
            session.channel.abort()
        await asyncio.sleep(0.01)

    def stop(self) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@dataclass
class Installation:
    """A healthy installation, and what a fault may change about it."""

    home: Path
    cloud: CloudNearby
    settings: dict[str, str]
    runtime: RuntimeFacts = field(default_factory=runtime)
    machine: MachineFacts = field(
        default_factory=lambda: replace(HEALTHY_MACHINE, now=NOW.timestamp(), installed_at=0.0)
    )
    unit: dict[str, str] = field(default_factory=dict)
    free_mb: int = 5000
    clouds: list[CloudNearby] = field(default_factory=list)

    @property
    def tls(self) -> Path:
        return self.home / "tls"

    def another_cloud(self, context: ssl.SSLContext | None) -> None:
        """Have the edge ask a cloud that listens with another context."""
        self.clouds.append(CloudNearby(context))
        self.settings["CLEAVE_EDGE_CLOUD"] = f"127.0.0.1:{self.clouds[-1].port}"


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    cloud = CloudNearby(cloud_context(rack(tmp_path / "rack")))
    files(tmp_path / "tls", "porch")
    for name in ("frames", "state"):
        (tmp_path / name).mkdir()
    settings = {
        "CLEAVE_MODEL": "resnet18",
        "CLEAVE_EDGE_SOURCE": str(tmp_path / "frames"),
        "CLEAVE_EDGE_RESULTS": str(tmp_path / "results.jsonl"),
        "CLEAVE_EDGE_STATE_DIR": str(tmp_path / "state"),
        "CLEAVE_EDGE_CLOUD": f"127.0.0.1:{cloud.port}",
        "CLEAVE_EDGE_TLS": str(tmp_path / "tls"),
        "CLEAVE_EDGE_HTTP": f"127.0.0.1:{free_port()}",
    }
    # The unit's own temporary directory would hide this one.
    made = Installation(
        tmp_path, cloud, settings, unit=RUNNING | {"PrivateTmp": "no", "ProtectSystem": "full"}
    )
    yield made
    for one in (cloud, *made.clouds):
        one.stop()


def examined(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, list[dict[str, str]]]:
    """Run the command on the installation; return its status and findings."""
    monkeypatch.setattr(doctor, "probe_runtime", lambda *_: installation.runtime)
    monkeypatch.setattr(doctor, "look_at_machine", lambda: installation.machine)
    monkeypatch.setattr(doctor_command, "look_at_unit", lambda name: UnitFacts(name, installation.unit))
    monkeypatch.setattr(places, "_free_mb", lambda _: installation.free_mb)
    file = installation.home / "edge.env"
    file.write_text("".join(f"{name}={value}\n" for name, value in installation.settings.items()))
    status = doctor.main(["--env-file", str(file), "--json"])
    return status, json.loads(capsys.readouterr().out)["findings"]


def test_a_healthy_installation_is_healthy(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing to mend, status 0; and it has looked at everything."""
    status, findings = examined(installation, monkeypatch, capsys)
    assert [finding for finding in findings if finding["verdict"] != "ok"] == []
    assert status == 0
    looked_at = {finding["what"] for finding in findings}
    assert looked_at >= {
        *("Python", "clock", "memory", "heat", "service", "torch", "device", "torchvision", "onnxruntime"),
        *("iperf3", "model", "state", "frames", "results", "sandbox", "certificate", "cloud", "greeting"),
        "page",
    }


Fault = Callable[[Installation], None]


def setting(name: str, value: str) -> Fault:
    def plant(installation: Installation) -> None:
        installation.settings[name] = value.format(home=installation.home)

    return plant


def having(**changes: Any) -> Fault:
    def plant(installation: Installation) -> None:
        for name, value in changes.items():
            setattr(installation, name, value)

    return plant


def unit(**changes: str) -> Fault:
    return lambda installation: installation.unit.update(changes)


def _no_frames(installation: Installation) -> None:
    (installation.home / "frames").rmdir()


def _key_of_another(installation: Installation) -> None:
    shutil.copy(files(installation.home / "other", "shed").key, installation.tls / "key.pem")


def _of_the_cloud(installation: Installation) -> None:
    rack(installation.tls)


def _ended(installation: Installation) -> None:
    files(installation.tls, "porch", issued=NOW - datetime.timedelta(days=200))


def _of_another_authority(installation: Installation) -> None:
    (installation.tls / "ca.pem").write_bytes(authority("another house").own.certificate_pem)


def _page_port_in_use(installation: Installation) -> None:
    # The cloud's own port: whatever is there listens already.
    installation.settings["CLEAVE_EDGE_HTTP"] = f"127.0.0.1:{installation.cloud.port}"


def _token_for_anybody(installation: Installation) -> None:
    token = installation.home / "token"
    token.write_text("a token of many characters")
    token.chmod(0o644)
    installation.settings["CLEAVE_EDGE_HTTP_TOKEN"] = str(token)


def _broker_without_login(installation: Installation) -> None:
    installation.settings["CLEAVE_EDGE_MQTT"] = "mqtt://broker.example"
    installation.settings["CLEAVE_EDGE_MQTT_LOGIN"] = "/run/cleave-edge/secrets/mqtt"


def _refused(kind: str, reason: str) -> Fault:
    def plant(installation: Installation) -> None:
        installation.cloud.cloud.refusal = Refused(kind=kind, reason=reason)

    return plant


def _cloud_for_another_host(installation: Installation) -> None:
    installation.another_cloud(cloud_context(rack(installation.home / "far", "server.example")))


FAULTS: dict[str, tuple[Fault, str, str, str]] = {
    "misspelt setting": (
        setting("CLEAVE_EDGE_SAMPLNG_FPS", "5"),
        "settings",
        "did you mean",
        "configuration.md",
    ),
    "invalid value": (
        setting("CLEAVE_EDGE_IN_FLIGHT", "99"),
        "settings",
        "99",
        "correct CLEAVE_EDGE_IN_FLIGHT",
    ),
    "no directory of frames": (_no_frames, "frames", "does not exist", "install -d"),
    "results are a directory": (
        setting("CLEAVE_EDGE_RESULTS", "{home}"),
        "results",
        "is a directory",
        "name a file",
    ),
    "disk full": (having(free_mb=3), "results", "3 MB free", "make room"),
    "page's port in use": (_page_port_in_use, "page", "in use by", "CLEAVE_EDGE_HTTP"),
    "page for everybody": (
        setting("CLEAVE_EDGE_HTTP", "0.0.0.0:7480"),
        "page",
        "without CLEAVE_EDGE_HTTP_TOKEN",
        "openssl rand",
    ),
    "token for anybody": (_token_for_anybody, "page", "by anybody", "readable for root only"),
    "broker's login missing": (
        _broker_without_login,
        "sinks",
        "/etc/cleave/edge-secrets/mqtt: No such file",
        "/etc/cleave/edge-secrets",
    ),
    "camera's password missing": (
        lambda at: at.settings.update(
            CLEAVE_EDGE_SOURCE="rtsp://camera.example/1", CLEAVE_EDGE_SOURCE_CREDENTIALS="/nothing"
        ),
        "source",
        "/nothing",
        "mend what the line names",
    ),
    "weights gone": (
        setting("CLEAVE_WEIGHTS", "{home}/w.safetensors"),
        "weights",
        "does not exist",
        "bring the file",
    ),
    "no camera": (
        setting("CLEAVE_EDGE_SOURCE", "v4l2:/dev/video99"),
        "camera",
        "no /dev/video99",
        "v4l2-ctl",
    ),
    "no certificate": (lambda at: (at.tls / "cert.pem").unlink(), "certificate", "is missing", "pki issue"),
    "key for anybody": (
        lambda at: (at.tls / "key.pem").chmod(0o644),
        "certificate",
        "by anybody",
        "chmod 600",
    ),
    "key of another": (_key_of_another, "certificate", "not the key", "from the same"),
    "certificate ended": (_ended, "certificate", "has ended", "--replace"),
    "cloud's certificate": (
        _of_the_cloud,
        "certificate",
        "of the cloud rack",
        "without --cloud",
    ),
    "another authority": (_of_another_authority, "certificate", "not issued by", "same authority"),
    "another's name": (setting("CLEAVE_EDGE_NAME", "shed"), "certificate", "porch's", "CLEAVE_EDGE_NAME"),
    "unprotected": (setting("CLEAVE_EDGE_TLS", ""), "certificate", "can read the frames", "pki issue"),
    "cloud down": (
        setting("CLEAVE_EDGE_CLOUD", "127.0.0.1:1"),
        "cloud",
        "connection refused",
        "status cleave-cloud",
    ),
    "cloud unknown": (setting("CLEAVE_EDGE_CLOUD", "x.invalid:1"), "cloud", "no address", "/etc/hosts"),
    "cloud without TLS": (lambda at: at.another_cloud(None), "TLS", "", "pki show"),
    "cloud for another host": (_cloud_for_another_host, "TLS", "not for 127.0.0.1", "--host 127.0.0.1"),
    "another model": (_refused("model", "weights differ"), "greeting", "weights differ", "same CLEAVE_MODEL"),
    "not on the list": (
        _refused("access", "not on the list"),
        "greeting",
        "not on the list",
        "CLEAVE_CLOUD_ALLOW",
    ),
    "clock of 1970": (
        lambda at: setattr(at, "machine", replace(at.machine, now=9.0, installed_at=NOW.timestamp())),
        "clock",
        "1970",
        "set-ntp true",
    ),
    "little memory": (
        lambda at: setattr(at, "machine", replace(at.machine, available_mb=90)),
        "memory",
        "90 MB",
        "smaller model",
    ),
    "too hot": (
        lambda at: setattr(at, "machine", replace(at.machine, temperature_c=88.0)),
        "heat",
        "88 °C",
        "fan",
    ),
    "no torch": (having(runtime=runtime(torch={"error": "gone"})), "torch", "gone", "make install-"),
    "torch without kernels": (having(runtime=runtime(torch={"cpu": "DEFAULT"})), "torch", "AVX2", "ATEN_CPU"),
    "torchvision beside": (
        having(runtime=runtime(torchvision={"operators": False})),
        "torchvision",
        "do not load",
        "force-reinstall",
    ),
    "a GPU that the unit hides": (
        having(runtime=runtime(torch={"cuda_build": "13.0", "cuda_devices": 1})),
        "device",
        "allows no nvidia devices",
        "VARIANTS=nvidia",
    ),
    "no libiperf": (having(runtime=runtime(iperf3={"error": "x"})), "iperf3", "by pings", "libiperf0"),
    "not installed": (having(unit={}), "service", "not installed", "make install-edge"),
    "ended with 78": (
        unit(ActiveState="failed", ExecMainStatus="78"),
        "service",
        "status 78",
        "systemctl start",
    ),
    "not enabled": (unit(UnitFileState="disabled"), "start", "does not start", "systemctl enable"),
    "hidden by the sandbox": (
        unit(PrivateTmp="yes"),
        "sandbox",
        "a /tmp of its own",
        "lasts",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_planted_fault_is_found_with_its_cure(
    name: str,
    installation: Installation,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Among its findings there is the right one: what is wrong, in words or numbers, and what mends it."""
    if name == "hidden by the sandbox" and not str(installation.home).startswith("/tmp/"):
        pytest.skip("the tests' directory is not under /tmp")
    plant, what, said, cure = FAULTS[name]
    plant(installation)
    status, findings = examined(installation, monkeypatch, capsys)
    bad = [finding for finding in findings if finding["verdict"] != "ok"]
    matching = [
        finding
        for finding in bad
        if finding["what"] == what and said in finding["said"] and cure in finding["cure"]
    ]
    assert matching, bad
    assert status == int(any(finding["verdict"] == "fail" for finding in bad))


def test_a_report_for_people_says_whose_view_it_is(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --json: a line each, the settings' file, the user."""
    examined(installation, monkeypatch, capsys)
    file = installation.home / "edge.env"
    assert doctor.main(["--env-file", str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"cleave-edge doctor: settings of {file}, as user ")
    assert lines[-1].endswith("fine, 0 to look at, 0 broken")


def test_a_file_that_cannot_be_read_is_one_line_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As all commands tell what they cannot use."""
    assert doctor.main(["--env-file", str(tmp_path / "nothing.env")]) == 2
    assert "nothing.env: No such file" in capsys.readouterr().err
    assert os.listdir(tmp_path) == []
