"""Where sinks send to, as settings: a broker, a webhook. What is secret in them is never shown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from common.config import absolute

MQTT_PORTS = {"mqtt": 1883, "mqtts": 8883}


class MqttAddress(BaseModel):
    """A broker and the topic that ours are under, written `mqtt[s]://host[:port][/prefix]`."""

    model_config = ConfigDict(frozen=True)
    host: str
    port: int = Field(ge=1, le=65535)
    tls: bool
    prefix: str = "cleave"

    @classmethod
    def parse(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        parts = _split(value, tuple(MQTT_PORTS), "CLEAVE_EDGE_MQTT_LOGIN names a file that holds them")
        if parts.query or parts.fragment:
            raise ValueError("has more than host, port and prefix")
        prefix = unquote(parts.path).strip("/") or "cleave"
        if any(char in prefix for char in "+#\0") or prefix.startswith("$"):
            raise ValueError("has a prefix with +, # or a leading $, which no topic can have")
        return cls(
            host=parts.hostname or "",
            port=parts.port or MQTT_PORTS[parts.scheme],
            tls=parts.scheme == "mqtts",
            prefix=prefix,
        )

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}/{self.prefix}"


class WebhookAddress(BaseModel):
    """A URL that batches are posted to, or `@FILE`, a file that holds it: often its path is the secret."""

    model_config = ConfigDict(frozen=True)
    url: str = ""
    file: Path | None = None

    @classmethod
    def parse(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if value.startswith("@"):
            return cls(file=absolute(Path(value[1:])))
        return cls(url=checked_url(value))

    def __str__(self) -> str:
        return f"@{self.file}" if self.file else self.url


def checked_url(text: str) -> str:
    """Return a webhook's URL if it can be one. Raises `ValueError`, which does not show it."""
    if any(char.isspace() for char in text):
        raise ValueError("is not one URL")
    _split(text, ("https", "http"), "let its path or the signature say who you are")
    return text


def shown_host(url: str) -> str:
    """Return what may be shown of a URL: not its path, not its query."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")


def _split(value: str, schemes: tuple[str, ...], instead: str) -> SplitResult:
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise ValueError("is no address") from None
    if parts.scheme not in schemes or not parts.hostname or port == 0:
        raise ValueError(f"is not of the form {' or '.join(f'{scheme}://host' for scheme in schemes)}…")
    if "@" in parts.netloc:
        raise ValueError(f"must hold no user and no password: {instead}")
    return parts


MqttSetting = Annotated[MqttAddress, BeforeValidator(MqttAddress.parse)]
WebhookSetting = Annotated[WebhookAddress, BeforeValidator(WebhookAddress.parse)]
