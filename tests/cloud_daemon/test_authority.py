"""Facts about the private authority: what it issues, what it refuses, and what it never overwrites."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from cloud_daemon.authority import Authority
from common.errors import ConfigurationError
from common.tls.certificates import TlsFiles
from tests.certificates import NOW, authority


def modes(directory: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}


def test_an_authority_is_kept_and_read_again(tmp_path: Path) -> None:
    """Its key is its owner's alone, and so is its directory; a second one never replaces it."""
    home = tmp_path / "pki"
    made = Authority.make("our house", 100, NOW)
    made.save(home)
    assert modes(home) == {"ca.key": 0o600, "ca.pem": 0o644}
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert Authority.load(home).own.certificate == made.own.certificate
    with pytest.raises(ConfigurationError, match=r"ca\.key is there already, and is not overwritten"):
        authority("another").save(home)
    assert Authority.load(home).own.certificate == made.own.certificate


def test_what_is_handed_out_is_what_a_daemon_takes(tmp_path: Path) -> None:
    """Three files; the key is its owner's alone, also when it replaces another one."""
    one = authority().issue("porch", 30, NOW)
    authority().hand_out(one, tmp_path / "edge")
    assert modes(tmp_path / "edge") == {"cert.pem": 0o644, "key.pem": 0o600, "ca.pem": 0o644}
    assert TlsFiles(tmp_path / "edge", "X").check() == one.facts
    two = authority().issue("porch", 60, NOW)
    with pytest.raises(ConfigurationError, match="is there already"):
        authority().hand_out(two, tmp_path / "edge")
    assert TlsFiles(tmp_path / "edge", "X").check() == one.facts
    (tmp_path / "edge" / "key.pem").chmod(0o644)
    authority().hand_out(two, tmp_path / "edge", replace=True)
    assert modes(tmp_path / "edge") == {"cert.pem": 0o644, "key.pem": 0o600, "ca.pem": 0o644}
    assert TlsFiles(tmp_path / "edge", "X").check() == two.facts


@pytest.mark.parametrize("name", ["", "../porch", "two words", "-x", "a" * 64, "naïve", "a\nb", "a,b", "@x"])
def test_a_name_that_could_mean_something_else_is_refused(name: str) -> None:
    """In a path, in an allow-list, in a log."""
    with pytest.raises(ConfigurationError, match="cannot be a name"):
        authority().issue(name, 30, NOW)


@pytest.mark.parametrize("host", ["", "server:7400", "https://server", "*.example", "two words", "a..b"])
def test_a_host_that_is_none_is_refused(host: str) -> None:
    """A port does not belong there, and a wildcard would be for any host."""
    with pytest.raises(ConfigurationError, match="neither a host's name nor an address"):
        authority().issue("rack", 30, NOW, hosts=[host], cloud=True)


def test_roles_and_hosts_belong_together() -> None:
    """Nobody connects to an edge, and a cloud that is reached nowhere is no use."""
    with pytest.raises(ConfigurationError, match="needs the name or address"):
        authority().issue("rack", 30, NOW, cloud=True)
    with pytest.raises(ConfigurationError, match="nobody connects to an edge"):
        authority().issue("porch", 30, NOW, hosts=["porch"])


def test_no_certificate_outlives_its_authority() -> None:
    """It would end with it, and say otherwise."""
    short = Authority.make("short", 10, NOW)
    with pytest.raises(ConfigurationError, match="11 days are more than the authority itself has left"):
        short.issue("porch", 11, NOW)


def test_a_missing_or_damaged_authority_is_told(tmp_path: Path) -> None:
    """With the command that makes one; a key of another one is no key."""
    with pytest.raises(ConfigurationError, match=r"ca\.pem: no such file; `cleave-cloud pki init`"):
        Authority.load(tmp_path)
    authority().save(tmp_path / "a")
    Authority.make("other", 10, NOW).save(tmp_path / "b")
    (tmp_path / "a" / "ca.key").write_bytes((tmp_path / "b" / "ca.key").read_bytes())
    with pytest.raises(ConfigurationError, match=r"ca\.key is not the key of ca\.pem"):
        Authority.load(tmp_path / "a")
    (tmp_path / "a" / "ca.key").write_bytes(b"?")
    with pytest.raises(ConfigurationError, match="damaged"):
        Authority.load(tmp_path / "a")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="file"):
        authority().save(tmp_path / "file" / "pki")
