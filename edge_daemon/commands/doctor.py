"""`cleave-edge doctor`: what is wrong with this installation of the edge, and how to mend it."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from common import limits
from common.doctor.certificates import TlsSeen, check_certificates, look_at_certificates
from common.doctor.command import Patient, examine, say_progress
from common.doctor.finding import Finding, fail, ok, warn
from common.doctor.machine import check_machine, look_at_machine
from common.doctor.page import check_page
from common.doctor.places import check_frames, check_results, check_state, check_weights, look_at
from common.doctor.unit import check_devices, check_sandbox, check_unit
from common.errors import ConfigurationError
from common.profile import ModelFingerprint
from common.tls.certificates import TlsFiles
from common.tls.contexts import edge_context
from common.wire.messages import PROTOCOL, Hello
from edge_daemon.cloud_contact import check_cloud, visit
from edge_daemon.config import EdgeSettings
from edge_daemon.identity import check_identity, own_name
from edge_daemon.sinks.sinks import check_sinks
from edge_daemon.source_address import SourceKind
from edge_daemon.sources import check_source
from models.runtime_findings import check_runtime, probe_runtime


def main(arguments: Sequence[str]) -> int:
    """Run the command; return the exit status."""
    return examine("edge", EdgeSettings, arguments, look)


def look(patient: Patient[EdgeSettings]) -> list[Finding]:
    """Look at everything, the network last."""
    settings, account = patient.settings, patient.account
    machine = look_at_machine()
    say_progress("looking at torch and the model")
    runtime = probe_runtime(patient.environment, account, [(settings.model, settings.weights)])
    wants_gpu = settings.device == "cuda" or (settings.device == "auto" and runtime.has_gpu)
    certificate = _look_at_certificate(settings)
    say_progress("visiting the cloud")
    return [
        *check_machine(machine),
        *check_unit(patient.unit, "edge"),
        *check_runtime(runtime, device=settings.device, executor=settings.executor, threads=settings.threads),
        *(check_devices(patient.unit, "device", "nvidia", "nvidia", "edge") if wants_gpu else []),
        *_look_at_places(patient),
        check_page("edge", settings.http, settings.http_token, "CLEAVE_EDGE_HTTP", patient.unit.pid),
        *_check_inputs_and_outputs(settings),
        check_certificates(certificate, machine.now) if certificate is not None else _unprotected(settings),
        *_visit(settings, certificate, runtime.fingerprints),
    ]


def _look_at_places(patient: Patient[EdgeSettings]) -> list[Finding]:
    settings, account = patient.settings, patient.account
    reads: dict[str, Path] = {}
    writes = {"CLEAVE_EDGE_STATE_DIR": settings.state_dir}
    found = [check_state(look_at("CLEAVE_EDGE_STATE_DIR", settings.state_dir, account))]
    source = settings.source
    if source.kind is SourceKind.V4L2:
        found += _look_at_camera(patient, Path(source.location))
    elif source.kind is SourceKind.PATH:
        reads["CLEAVE_EDGE_SOURCE"] = source.path
        if not os.path.isfile(source.path):  # a video is a file
            found.append(check_frames(look_at("CLEAVE_EDGE_SOURCE", source.path, account)))
    if settings.results == "-":
        found.append(ok("results", "to stdout"))
    else:
        path = Path(settings.results).expanduser().absolute()
        writes["CLEAVE_EDGE_RESULTS"] = path
        found.append(check_results(look_at("CLEAVE_EDGE_RESULTS", path, account)))
    if settings.weights.endswith(".safetensors"):
        reads["CLEAVE_WEIGHTS"] = Path(settings.weights)
        found.append(check_weights(look_at("CLEAVE_WEIGHTS", Path(settings.weights), account)))
    return [*found, *check_sandbox(patient.unit, reads, writes)]


def _check_inputs_and_outputs(settings: EdgeSettings) -> list[Finding]:
    """Judge source and sinks as the daemon itself does when it starts."""
    found: list[Finding] = []
    directory = settings.source.kind is SourceKind.PATH and not os.path.isfile(settings.source.path)
    if not directory:  # which has been looked at
        found.append(_as_at_the_start("source", lambda: check_source(settings), str(settings.source)))
    sinks = {"MQTT": settings.mqtt, "webhook": settings.webhook, "annotated": settings.annotated}
    named = ", ".join(f"{name} {sink}" for name, sink in sinks.items() if sink is not None)
    if named:
        found.append(_as_at_the_start("sinks", lambda: check_sinks(settings), named))
    return found


def _as_at_the_start(what: str, check: Callable[[], None], healthy: str) -> Finding:
    try:
        check()
    except ConfigurationError as error:
        return fail(
            what,
            str(error),
            "mend what the line names; packages come with `make install-edge` (EXTRAS=onnx,camera,mqtt), and secrets "
            "lie in /etc/cleave/edge-secrets",
        )
    return ok(what, healthy)


def _look_at_camera(patient: Patient[EdgeSettings], device: Path) -> list[Finding]:
    account = patient.account
    return [
        check_camera(
            device, device.exists(), account.may("r", device) and account.may("w", device), account.name
        ),
        *check_devices(patient.unit, "camera", "char-video4linux", "camera", "edge"),
    ]


def check_camera(device: Path, exists: bool, usable: bool, user: str) -> Finding:
    """Judge a camera's device file."""
    if not exists:
        return fail(
            "camera",
            f"there is no {device}",
            "plug the camera in; `ls /dev/video*` and `v4l2-ctl --list-devices` (v4l-utils) show what is there",
        )
    if not usable:
        return fail(
            "camera",
            f"{device} may not be used by {user}",
            f"make install-edge VARIANTS=camera gives the service the group video; by hand: usermod -aG video {user}",
        )
    return ok("camera", str(device))


def _look_at_certificate(settings: EdgeSettings) -> TlsSeen | None:
    if settings.tls is None:
        return None
    return look_at_certificates(
        "CLEAVE_EDGE_TLS", settings.tls, lambda facts: check_identity(facts, settings)
    )


def _unprotected(settings: EdgeSettings) -> Finding:
    return warn(
        "certificate",
        f"none: everybody between here and {settings.cloud} can read the frames and change the answers",
        "cleave-cloud pki issue NAME --out DIR on the cloud, its files to /etc/cleave/edge-tls, and "
        "CLEAVE_EDGE_TLS=/run/cleave-edge/tls",
    )


def _visit(
    settings: EdgeSettings, certificate: TlsSeen | None, fingerprints: Sequence[ModelFingerprint]
) -> list[Finding]:
    if certificate is not None and certificate.facts is None:
        return []  # without a certificate there is no way in, and that has been told
    name = certificate.facts.name if certificate and certificate.facts else own_name(settings, None)
    hello = _hello(settings, name, fingerprints[0]) if fingerprints else None

    def context() -> ssl.SSLContext | None:
        return edge_context(TlsFiles(certificate.directory, certificate.setting)) if certificate else None

    try:
        return check_cloud(visit(settings.cloud, context, hello))
    except ConfigurationError as error:
        return [fail("TLS", str(error), "issue new certificates with `cleave-cloud pki issue … --replace`")]


def _hello(settings: EdgeSettings, name: str, fingerprint: ModelFingerprint) -> Hello:
    digests: Mapping[str, str] = {
        part: getattr(fingerprint, part) for part in ("architecture", "weights", "graph")
    }
    model = f"{settings.model} with weights {settings.weights}"[: limits.MAX_NAME_CHARS]
    return Hello(protocol=PROTOCOL, edge=name[: limits.MAX_NAME_CHARS], model=model, **digests)
