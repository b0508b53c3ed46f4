"""`cleave-cloud doctor`: what is wrong with this installation of the cloud, and how to mend it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from cloud_daemon.access import check_role, check_unprotected, read_allow_list
from cloud_daemon.config import CloudSettings
from common.config import Address
from common.doctor.certificates import TlsSeen, check_certificates, look_at_certificates
from common.doctor.command import Patient, examine, say_progress
from common.doctor.finding import Finding, fail, ok, warn
from common.doctor.machine import check_machine, look_at_machine
from common.doctor.page import check_page
from common.doctor.places import check_state, check_weights, look_at
from common.doctor.ports import check_port, look_at_port
from common.doctor.unit import check_devices, check_sandbox, check_unit
from common.errors import ConfigurationError
from models.runtime_findings import check_runtime, probe_runtime


def main(arguments: Sequence[str]) -> int:
    """Run the command; return the exit status."""
    return examine("cloud", CloudSettings, arguments, look)


def look(patient: Patient[CloudSettings]) -> list[Finding]:
    """Look at everything."""
    settings, account = patient.settings, patient.account
    machine = look_at_machine()
    say_progress("looking at torch and the models")
    runtime = probe_runtime(patient.environment, account, settings.served)
    certificate = _look_at_certificate(settings)
    iperf = Address(host=settings.listen.host, port=settings.iperf_port)
    wants_gpu = settings.device == "cuda" or (settings.device == "auto" and runtime.has_gpu)
    return [
        *check_machine(machine),
        *check_unit(patient.unit, "cloud"),
        *check_runtime(runtime, device=settings.device, executor=settings.executor, threads=settings.threads),
        *(check_devices(patient.unit, "device", "nvidia", "nvidia", "cloud") if wants_gpu else []),
        *_look_at_places(patient),
        check_port("port", look_at_port("CLEAVE_CLOUD_LISTEN", settings.listen, patient.unit.pid)),
        check_port("iperf3 port", look_at_port("CLEAVE_CLOUD_IPERF_PORT", iperf, patient.unit.pid)),
        check_page("cloud", settings.http, settings.http_token, "CLEAVE_CLOUD_HTTP", patient.unit.pid),
        check_filter(_try_filter(patient)),
        check_certificates(certificate, machine.now) if certificate is not None else _check_open(settings),
        *_check_list(settings),
    ]


def check_filter(refused: str) -> Finding:
    """Judge whether the iperf3 server can be kept for one edge at a time; `refused` is why not, or empty."""
    if refused:
        return warn(
            "iperf3 turns",
            f"this kernel lets the daemon's user attach no socket filter ({refused}): edges measure by pings instead",
            "nothing, if that will do; otherwise a kernel whose SO_ATTACH_FILTER needs no privilege",
        )
    return ok("iperf3 turns", "the port can be kept for one edge at a time")


def _try_filter(patient: Patient[CloudSettings]) -> str:
    done = subprocess.run(
        [sys.executable, "-c", "from cloud_daemon.peer_filter import *; print(why_not_allowed() or '')"],
        cwd=Path(__file__).parent.parent.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **patient.account.credentials,
    )
    return str(done.stdout.strip() or done.stderr.strip()[-200:])


def _look_at_places(patient: Patient[CloudSettings]) -> list[Finding]:
    settings, account = patient.settings, patient.account
    found = [check_state(look_at("CLEAVE_CLOUD_STATE_DIR", settings.state_dir, account))]
    files = [Path(weights) for _, weights in settings.served if weights.endswith(".safetensors")]
    found += [check_weights(look_at("CLEAVE_WEIGHTS", path, account)) for path in files]
    reads = {f"weights {path.name}": path for path in files}
    return [*found, *check_sandbox(patient.unit, reads, {"CLEAVE_CLOUD_STATE_DIR": settings.state_dir})]


def _look_at_certificate(settings: CloudSettings) -> TlsSeen | None:
    if settings.tls is None:
        return None
    return look_at_certificates("CLEAVE_CLOUD_TLS", settings.tls, check_role)


def _check_open(settings: CloudSettings) -> Finding:
    try:
        check_unprotected(settings.listen, insecure=settings.insecure, allow=settings.allow)
    except ConfigurationError as error:
        said, _, cure = str(error).partition(". Either ")
        return fail(
            "certificate", said, f"either {cure}" if cure else "issue certificates, or take the list out"
        )
    if settings.insecure:
        return warn(
            "certificate",
            f"none, and CLEAVE_CLOUD_INSECURE=1: whoever reaches {settings.listen} may use this cloud",
            "cleave-cloud pki issue NAME --cloud --host ADDRESS --out /etc/cleave/cloud-tls, and "
            "CLEAVE_CLOUD_TLS=/run/cleave-cloud/tls",
        )
    return ok("certificate", "none is needed: only this machine reaches the cloud")


def _check_list(settings: CloudSettings) -> list[Finding]:
    if not settings.allow:
        return []
    try:
        names = read_allow_list(settings.allow)
    except ConfigurationError as error:
        return [
            fail("list of edges", str(error), "make the file, a name a line, readable for the daemon's user")
        ]
    if not names:
        return [
            warn(
                "list of edges",
                f"CLEAVE_CLOUD_ALLOW={settings.allow} has no names: nobody is let in",
                "add some",
            )
        ]
    return [ok("list of edges", f"{len(names)} names")]
