"""Facts about where sinks send to: what is an address, what is refused, and that secrets are not shown."""

from __future__ import annotations

import pytest

from common.errors import ConfigurationError
from edge_daemon.config import EdgeSettings
from edge_daemon.sinks.addresses import MqttAddress, WebhookAddress, shown_host

NEEDED = {"CLEAVE_MODEL": "resnet18", "CLEAVE_EDGE_SOURCE": "/frames"}


@pytest.mark.parametrize(
    ("text", "host", "port", "tls", "prefix"),
    [
        ("mqtt://broker", "broker", 1883, False, "cleave"),
        ("mqtts://broker", "broker", 8883, True, "cleave"),
        ("mqtt://[::1]:1884/house/cameras/", "::1", 1884, False, "house/cameras"),
        ("mqtts://b:1/a%20b", "b", 1, True, "a b"),
    ],
)
def test_a_broker_has_usual_ports_and_a_prefix(
    text: str, host: str, port: int, tls: bool, prefix: str
) -> None:
    """Written out again it is the same address."""
    address = MqttAddress.parse(text)
    assert isinstance(address, MqttAddress)
    assert (address.host, address.port, address.tls, address.prefix) == (host, port, tls, prefix)
    assert MqttAddress.parse(str(address)) == address


@pytest.mark.parametrize(
    "text",
    ["broker", "http://broker", "mqtt://", "mqtt://b:0", "mqtt://b:99999", "mqtt://b/+/x", "mqtt://b/%23", "mqtt://b/$SYS",
     "mqtt://b?x=1", "mqtt://[::1"],
)  # fmt: skip
def test_what_is_no_broker_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"CLEAVE_EDGE_MQTT=…: .*valid: mqtt"):
        EdgeSettings.load({**NEEDED, "CLEAVE_EDGE_MQTT": text})


@pytest.mark.parametrize("text", ["ftp://x", "https://", "hook", "https://a b", "https://x:0/"])
def test_what_is_no_webhook_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="CLEAVE_EDGE_WEBHOOK=…: "):
        EdgeSettings.load({**NEEDED, "CLEAVE_EDGE_WEBHOOK": text})


@pytest.mark.parametrize("variable", ["MQTT", "WEBHOOK"])
def test_a_password_in_an_address_is_refused_and_not_shown(variable: str) -> None:
    """Addresses are in the environment, where everybody on the machine may look."""
    scheme = "mqtt" if variable == "MQTT" else "https"
    with pytest.raises(ConfigurationError) as error:
        EdgeSettings.load({**NEEDED, f"CLEAVE_EDGE_{variable}": f"{scheme}://user:hunter2@host/"})
    assert "no user and no password" in str(error.value)
    assert "hunter2" not in str(error.value)


def test_a_webhook_may_be_in_a_file() -> None:
    """Settings written out are settings again."""
    settings = EdgeSettings.load(
        {**NEEDED, "CLEAVE_EDGE_WEBHOOK": "@/run/url", "CLEAVE_EDGE_MQTT": "mqtt://b"}
    )
    assert isinstance(settings.webhook, WebhookAddress)
    assert str(settings.webhook) == "@/run/url"
    lines = dict(line.split("=", 1) for line in settings.as_environment().splitlines())
    assert EdgeSettings.load(lines) == settings


def test_of_a_url_the_host_is_shown() -> None:
    assert shown_host("https://example.org:8443/secret/path?token=1") == "https://example.org:8443"
    assert shown_host("http://[::1]/x") == "http://[::1]"
