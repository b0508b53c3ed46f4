"""The service: is its unit installed, how does it fare, and does its sandbox allow what the settings ask for?"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

from common.doctor.environment import parse_unit_environment
from common.doctor.finding import Finding, fail, ok, warn
from common.errors import EXIT_CONFIGURATION

HOMES = ("/home", "/root", "/run/user")
PRIVATE = ("/tmp", "/var/tmp")
MANY_RESTARTS = 3
SHOWN = (
    "LoadState,UnitFileState,ActiveState,SubState,ExecMainStatus,NRestarts,MainPID,StatusText,User,Environment,"
    "SupplementaryGroups,ProtectHome,ProtectSystem,PrivateTmp,StateDirectory,ReadWritePaths,BindPaths,"
    "BindReadOnlyPaths,DevicePolicy,DeviceAllow"
)


@dataclass(frozen=True, slots=True)
class UnitFacts:
    """A unit's properties, by name, as systemd tells them."""

    name: str
    properties: Mapping[str, str]

    def __getitem__(self, name: str) -> str:
        return self.properties.get(name, "")

    @property
    def installed(self) -> bool:
        return self["LoadState"] not in ("", "not-found")

    @property
    def pid(self) -> int:
        """The daemon's process; 0 while it does not run."""
        return int(self["MainPID"] or 0)

    @property
    def environment(self) -> dict[str, str]:
        return parse_unit_environment(self["Environment"])


def look_at_unit(name: str) -> UnitFacts:
    """Ask systemd; without systemd nothing is installed."""
    if shutil.which("systemctl") is None:
        return UnitFacts(name, {})
    shown = subprocess.run(
        ["systemctl", "show", "--no-pager", f"--property={SHOWN}", name],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return UnitFacts(name, parse_properties(shown.stdout))


def parse_properties(text: str) -> dict[str, str]:
    """Read lines `Name=value`; of a name that comes twice (DeviceAllow) the values are joined."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals:
            found[name] = f"{found[name]} {value}" if name in found else value
    return found


def check_unit(facts: UnitFacts, role: str) -> list[Finding]:
    """Judge whether the service is there, and how it fares."""
    if not facts.installed:
        return [
            warn(
                "service",
                f"{facts.name} is not installed: nothing starts the daemon when the machine starts, or when it ends",
                f"as root: make install-{role}",
            )
        ]
    if facts["LoadState"] != "loaded":
        return [
            fail(
                "service",
                f"systemd cannot use {facts.name}: {facts['LoadState']}",
                f"systemd-analyze verify {facts.name} says why; after a change, systemctl daemon-reload",
            )
        ]
    return [_check_state(facts), *_check_enabled(facts)]


def _check_state(facts: UnitFacts) -> Finding:
    status, restarts = facts["ExecMainStatus"], int(facts["NRestarts"] or 0)
    if facts["ActiveState"] == "failed" and status == str(EXIT_CONFIGURATION):
        return fail(
            "service",
            f"{facts.name} ended with status {EXIT_CONFIGURATION}: a setting is wrong, and it is not started again",
            f"mend what is broken here (and see journalctl -u {facts.name}), then systemctl start {facts.name}",
        )
    if facts["ActiveState"] == "failed":
        return fail(
            "service",
            f"{facts.name} has failed (status {status})",
            f"journalctl -u {facts.name} says why; then systemctl start {facts.name}",
        )
    if restarts >= MANY_RESTARTS:
        return warn(
            "service",
            f"{facts.name} was started again {restarts} times",
            f"journalctl -u {facts.name} says why it ended; systemctl reset-failed {facts.name} counts anew",
        )
    said = f"{facts.name} is {facts['ActiveState']} ({facts['SubState']})"
    return ok("service", f"{said}: {facts['StatusText']}" if facts["StatusText"] else said)


def _check_enabled(facts: UnitFacts) -> list[Finding]:
    if facts["UnitFileState"] in ("enabled", "enabled-runtime", "static", "linked"):
        return []
    return [
        warn(
            "start",
            f"{facts.name} is {facts['UnitFileState']}: it does not start with the machine",
            f"systemctl enable {facts.name}",
        )
    ]


def check_sandbox(facts: UnitFacts, reads: Mapping[str, Path], writes: Mapping[str, Path]) -> list[Finding]:
    """Judge whether the unit lets the daemon reach the paths that settings name; no unit, no sandbox."""
    if not facts.installed:
        return []
    found = [
        finding
        for setting, path in {**reads, **writes}.items()
        if (finding := _hidden(facts, setting, path)) is not None
    ]
    hidden = {finding.said.partition("=")[0] for finding in found}
    for setting, path in writes.items():
        if setting not in hidden and not _writable(facts, path):
            found.append(
                fail(
                    "sandbox",
                    f"{setting}={path}: the unit lets the daemon write only to {_state(facts)}",
                    f"systemctl edit {facts.name}: [Service] and ReadWritePaths={path.parent}; or name a file there",
                )
            )
    return found or [ok("sandbox", "the unit allows what the settings name")]


def check_devices(facts: UnitFacts, what: str, device_class: str, variant: str, role: str) -> list[Finding]:
    """Judge whether the unit lets the daemon use a class of devices; without a unit everything is allowed."""
    closed = facts["DevicePolicy"] in ("closed", "strict")
    if not facts.installed or not closed or device_class in facts["DeviceAllow"]:
        return []
    return [
        fail(
            what,
            f"{facts.name} allows no {device_class} devices",
            f"as root: make install-{role} VARIANTS={variant}, then systemctl restart {facts.name}",
        )
    ]


def _hidden(facts: UnitFacts, setting: str, path: Path) -> Finding | None:
    if _under(path, _paths(facts["BindPaths"]) + _paths(facts["BindReadOnlyPaths"])):
        return None
    bind = f"systemctl edit {facts.name}, add [Service] and BindPaths={path if os.path.isdir(path) else path.parent}"
    if facts["ProtectHome"] in ("yes", "tmpfs") and _under(path, HOMES):
        return fail("sandbox", f"{setting}={path}: the unit shows the daemon no home directories", bind)
    if facts["PrivateTmp"] == "yes" and _under(path, PRIVATE):
        return fail(
            "sandbox",
            f"{setting}={path}: the daemon has a {PurePath(*path.parts[:2])} of its own, and does not see this one",
            "take a directory that lasts, such as /var/lib/cleave-edge/frames",
        )
    return None


def _writable(facts: UnitFacts, path: Path) -> bool:
    if facts["ProtectSystem"] != "strict":
        return True
    return _under(
        path,
        (*_state_directories(facts), *_paths(facts["ReadWritePaths"]), *_paths(facts["BindPaths"]), "/dev"),
    )


def _state_directories(facts: UnitFacts) -> tuple[str, ...]:
    return tuple(f"/var/lib/{name}" for name in facts["StateDirectory"].split())


def _state(facts: UnitFacts) -> str:
    return ", ".join(_state_directories(facts)) or "no directory at all"


def _paths(text: str) -> tuple[str, ...]:
    """Read a list of paths: `-/maybe`, and `SOURCE:TARGET[:OPTIONS]` where what the daemon sees is the target."""
    words = (word.lstrip("-+").split(":") for word in text.split())
    return tuple(parts[1] if len(parts) > 1 else parts[0] for parts in words)


def _under(path: Path, places: tuple[str, ...]) -> bool:
    return any(path == Path(place) or Path(place) in path.parents for place in places)
