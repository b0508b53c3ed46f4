"""The environment a service runs with: its unit's, and its environment file's, as systemd reads it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from common.errors import ConfigurationError


def parse_environment_file(text: str) -> dict[str, str]:
    """Read lines `NAME=value` as systemd does: comments after `#` or `;` at a line's beginning, quotes around values.

    What is no such line is left out, as systemd leaves it out.
    """
    found: dict[str, str] = {}
    for line in text.replace("\\\n", "").splitlines():
        name, equals, value = line.partition("=")
        if equals and name.strip().isidentifier():
            found[name.strip()] = _unquoted(value.strip())
    return found


def parse_unit_environment(text: str) -> dict[str, str]:
    """Read `Environment=` as `systemctl show` prints it: `NAME=value` words, quoted where they need it."""
    pairs = (word.partition("=") for word in shlex.split(text))
    return {name: value for name, equals, value in pairs if equals}


def read_environment_file(path: Path) -> dict[str, str]:
    """Read an environment file. Raises `ConfigurationError` when it cannot be read."""
    try:
        return parse_environment_file(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigurationError(f"{path}: {reason}; run as root, or name another --env-file") from error


def service_environment(
    inherited: Mapping[str, str], unit: Mapping[str, str], file: Mapping[str, str]
) -> dict[str, str]:
    """Return what a service sees. Of this process's environment it gets the path only; the file is above the unit."""
    kept = {name: inherited[name] for name in ("PATH", "LANG") if name in inherited}
    return {**kept, **unit, **file}


def as_kept(environment: Mapping[str, str], role: str) -> dict[str, str]:
    """Return the environment with the places that a unit hands certificates and secrets over at replaced by those
    where root keeps them: the former are there only while the service runs.
    """
    return {
        name: value.replace(f"/run/cleave-{role}/tls", f"/etc/cleave/{role}-tls").replace(
            f"/run/cleave-{role}/secrets", f"/etc/cleave/{role}-secrets"
        )
        for name, value in environment.items()
    }


def _unquoted(value: str) -> str:
    for quote in "\"'":
        if len(value) >= 2 and value[0] == value[-1] == quote:
            return value[1:-1]
    return value
