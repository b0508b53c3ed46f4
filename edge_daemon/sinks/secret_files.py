"""What sinks must know and nobody may see: read from files, never from the environment, and never shown."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path

from common.errors import ConfigurationError
from edge_daemon.sinks.addresses import WebhookAddress, checked_url

MOST_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Login:
    user: str
    password: str = field(repr=False)


def read_login(path: Path) -> Login:
    """Read a file with the user in its first line and the password in its second. Raises `ConfigurationError`."""
    lines = _read(path, "CLEAVE_EDGE_MQTT_LOGIN").splitlines()
    if len(lines) != 2 or not lines[0]:
        raise ConfigurationError(
            f"CLEAVE_EDGE_MQTT_LOGIN={path}: has {len(lines)} lines; it needs two, the user and the password"
        )
    return Login(*lines)


def read_secret(path: Path) -> bytes:
    """Read the secret that batches are signed with. Raises `ConfigurationError`."""
    secret = _read(path, "CLEAVE_EDGE_WEBHOOK_SECRET").strip()
    if len(secret) < 16:
        raise ConfigurationError(
            f"CLEAVE_EDGE_WEBHOOK_SECRET={path}: has {len(secret)} characters; it needs at least 16, for example "
            "from `openssl rand -hex 32`"
        )
    return secret.encode()


def read_url(address: WebhookAddress) -> str:
    """Return a webhook's URL, from its file if it is in one. Raises `ConfigurationError`."""
    if address.file is None:
        return address.url
    try:
        return checked_url(_read(address.file, "CLEAVE_EDGE_WEBHOOK").strip())
    except ValueError as error:
        raise ConfigurationError(f"CLEAVE_EDGE_WEBHOOK=@{address.file}: what it holds {error}") from None


def trust(ca: Path | None, setting: str) -> ssl.SSLContext:
    """Return what receivers' certificates are checked with: the file's authorities, or the system's.

    Raises `ConfigurationError`.
    """
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(
            f"{setting}={ca}: holds no certificates that can be read: {reason}"
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _read(path: Path, setting: str) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is no text"
        raise ConfigurationError(f"{setting}={path}: {reason}") from None
