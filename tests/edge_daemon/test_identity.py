"""Facts about who an edge is to the cloud."""

from __future__ import annotations

import datetime
import socket
from pathlib import Path

import pytest

from common.errors import ConfigurationError
from common.tls.certificates import DAY_S
from common.tls.identity import tls_status
from edge_daemon.config import EdgeSettings
from edge_daemon.identity import identity_of, own_name
from tests.certificates import NOW, files, rack


def settings(**values: object) -> EdgeSettings:
    given = {f"CLEAVE_EDGE_{name.upper()}": str(value) for name, value in values.items()}
    return EdgeSettings.load({"CLEAVE_MODEL": "resnet18", "CLEAVE_EDGE_SOURCE": "/tmp", **given})


def test_the_certificate_names_the_edge(tmp_path: Path) -> None:
    """Under TLS it is who the edge is; otherwise the setting, or the host's name."""
    tls = files(tmp_path, "porch").directory
    assert own_name(settings(tls=tls), identity_of(settings(tls=tls))) == "porch"
    assert own_name(settings(tls=tls, name="porch"), identity_of(settings(tls=tls, name="porch"))) == "porch"
    assert identity_of(settings()) is None
    assert own_name(settings(name="shed"), None) == "shed"
    assert own_name(settings(), None) == socket.gethostname()


def test_another_name_is_the_operators_error(tmp_path: Path) -> None:
    """The cloud would refuse it."""
    tls = files(tmp_path, "porch").directory
    with pytest.raises(ConfigurationError, match=r"CLEAVE_EDGE_NAME=shed: the certificate .* is porch's"):
        identity_of(settings(tls=tls, name="shed"))


def test_a_clouds_certificate_is_no_edges(tmp_path: Path) -> None:
    """The cloud would refuse it, without saying why."""
    with pytest.raises(ConfigurationError, match="this is the certificate of the cloud rack"):
        identity_of(settings(tls=rack(tmp_path).directory))


def test_an_ended_certificate_does_not_stop_the_edge(tmp_path: Path) -> None:
    """It serves alone, and its status says why."""
    ended = files(tmp_path, "porch", days=10, issued=NOW - datetime.timedelta(days=15))
    identity = identity_of(settings(tls=ended.directory))
    assert tls_status(identity, NOW.timestamp()) == {
        "as": "porch",
        "certificate": "expired",
        "days_left": -5.0,
        "issuer": "our house",
    }


def test_the_status_counts_the_days(tmp_path: Path) -> None:
    """And says when there is no protection at all."""
    identity = identity_of(settings(tls=files(tmp_path, "porch", days=90).directory))
    told = tls_status(identity, NOW.timestamp() + 70 * DAY_S)
    assert told is not None
    assert (told["certificate"], told["days_left"]) == ("ending", 20.0)
    assert tls_status(None, 0.0) is None
