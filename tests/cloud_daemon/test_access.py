"""Facts about who may connect: what is refused before anything listens."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest

from cloud_daemon.access import Access, read_allow_list
from cloud_daemon.config import CloudSettings
from common.errors import ConfigurationError
from tests.certificates import NOW, files, rack


def settings(**values: Any) -> CloudSettings:
    given = {f"CLEAVE_CLOUD_{name.upper()}": str(value) for name, value in values.items()}
    return CloudSettings.load({"CLEAVE_MODEL": "resnet18", **given})


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.1", "[::]", "server", "my-laptop.local"])
def test_an_open_cloud_without_tls_is_refused(host: str) -> None:
    """The error says what would happen, and the three ways out."""
    with pytest.raises(ConfigurationError) as caught:
        Access.of(settings(listen=f"{host}:7400"))
    for part in ("everybody who can reach", "pki issue", "127.0.0.1", "CLEAVE_CLOUD_INSECURE=1"):
        assert part in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "[::1]", "localhost"])
def test_this_machine_alone_needs_none(host: str) -> None:
    """It says all the same that it is not protected."""
    assert "INSECURE" in Access.of(settings(listen=f"{host}:7400")).description


def test_insecure_is_said_where_it_is_allowed() -> None:
    """In the line that says that the cloud listens."""
    access = Access.of(settings(listen="0.0.0.0:7400", insecure=1))
    assert access.description == "INSECURE: neither encrypted nor authenticated"


def test_tls_says_as_whom_and_for_whom(tmp_path: Path) -> None:
    """And TLS is used whatever INSECURE says."""
    directory = rack(tmp_path).directory
    assert (
        Access.of(settings(listen="0.0.0.0:7400", tls=directory, insecure=1)).description
        == "TLS 1.3 as rack, for any edge with our certificate"
    )
    listed = Access.of(settings(listen="0.0.0.0:7400", tls=directory, allow="porch,attic"))
    assert listed.description == "TLS 1.3 as rack, for 2 edges by name"


def test_a_list_without_certificates_is_refused() -> None:
    """Names that nobody proves are no protection."""
    with pytest.raises(ConfigurationError, match="CLEAVE_CLOUD_ALLOW needs CLEAVE_CLOUD_TLS"):
        Access.of(settings(allow="porch"))


def test_the_wrong_or_an_ended_certificate_is_told(tmp_path: Path) -> None:
    """An edge's for a cloud; one that no edge would accept."""
    edge = files(tmp_path / "edge", "porch").directory
    with pytest.raises(ConfigurationError, match="this is the certificate of the edge porch"):
        Access.of(settings(tls=edge))
    ended = files(tmp_path / "old", "rack", hosts=("x",), days=10, issued=NOW - datetime.timedelta(days=15))
    with pytest.raises(ConfigurationError, match="ended 5 days ago, no edge would connect"):
        Access.of(settings(tls=ended.directory))
    with pytest.raises(ConfigurationError, match=r"CLEAVE_CLOUD_TLS=.*cert\.pem is missing"):
        Access.of(settings(tls=tmp_path / "nowhere"))


def test_a_list_is_names_or_a_file(tmp_path: Path) -> None:
    """Blanks and comments do not matter; none is everybody, an empty file is nobody."""
    path = tmp_path / "edges"
    path.write_text("# ours\nporch\n\n  attic # upstairs\n")
    assert read_allow_list("") is None
    assert read_allow_list("porch, attic") == read_allow_list(f"@{path}") == frozenset({"porch", "attic"})
    path.write_text("")
    assert read_allow_list(f"@{path}") == frozenset()
    with pytest.raises(ConfigurationError, match=r"CLEAVE_CLOUD_ALLOW=@.*: No such file"):
        read_allow_list(f"@{tmp_path / 'none'}")
    with pytest.raises(
        ConfigurationError, match=r"CLEAVE_CLOUD_ALLOW=@.*: there is no home directory for '~nobody"
    ):
        read_allow_list("@~nobody-here/edges")
