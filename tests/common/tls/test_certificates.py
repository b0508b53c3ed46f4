"""Facts about the files of a machine's identity: what they say, and what is wrong with them."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ConfigurationError
from common.tls.certificates import DAY_S, CertificateFacts, name_in
from common.tls.contexts import cloud_context, edge_context
from tests.certificates import DAYS, NOW, authority, files, rack


def test_a_certificate_tells_who_and_how_long(tmp_path: Path) -> None:
    """Name, hosts, issuer, purpose, and the days that are left."""
    edge = files(tmp_path / "edge", "porch").check()
    assert (edge.name, edge.issuer, edge.for_edge, edge.for_cloud) == ("porch", "our house", True, False)
    assert edge.days_left(NOW.timestamp()) == pytest.approx(DAYS, abs=0.001)
    cloud = rack(tmp_path / "rack", "server", "10.0.0.1", "fd00::1").check()
    assert (cloud.hosts, cloud.for_edge, cloud.for_cloud) == (("server", "10.0.0.1", "fd00::1"), False, True)


@pytest.mark.parametrize("missing", ["cert.pem", "key.pem", "ca.pem"])
def test_a_missing_file_is_named(missing: str, tmp_path: Path) -> None:
    """With the setting, and with what makes such a directory."""
    made = files(tmp_path, "porch")
    (tmp_path / missing).unlink()
    with pytest.raises(ConfigurationError, match=rf"CLEAVE_EDGE_TLS=.*: {missing} is missing .*pki issue"):
        made.check()


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("cert.pem", b"nonsense", "cert.pem is no certificate in PEM form"),
        ("ca.pem", b"", "ca.pem is no certificate in PEM form"),
        ("key.pem", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "is no private key"),
    ],
)
def test_a_damaged_file_is_named(name: str, content: bytes, told: str, tmp_path: Path) -> None:
    """Whatever is wrong inside."""
    made = files(tmp_path, "porch")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigurationError, match=told):
        made.check()


def test_a_key_of_another_certificate_is_told(tmp_path: Path) -> None:
    """Half of a renewal, or two directories mixed up."""
    mine, other = files(tmp_path / "a", "porch"), files(tmp_path / "b", "porch")
    mine.key.write_bytes(other.key.read_bytes())
    with pytest.raises(ConfigurationError, match=r"key\.pem is not the key of cert\.pem"):
        mine.check()


def test_a_certificate_of_another_authority_is_told(tmp_path: Path) -> None:
    """Both authorities are in the message's reach: the one of ca.pem is named."""
    foreign = files(tmp_path, "porch", by=authority("another house"))
    with pytest.raises(ConfigurationError, match=r"cert\.pem was not issued by ca\.pem \(our house\)"):
        foreign.check()


@pytest.mark.parametrize(("mode", "fine"), [(0o600, True), (0o440, True), (0o604, False), (0o644, False)])
def test_a_key_that_anybody_may_read_is_refused(mode: int, fine: bool, tmp_path: Path) -> None:
    """Its group may: systemd's credentials look so."""
    made = files(tmp_path, "porch")
    made.key.chmod(mode)
    if fine:
        made.check()
    else:
        with pytest.raises(
            ConfigurationError, match=rf"may be read by anybody \(mode {mode:04o}\): chmod 600"
        ):
            made.check()


def test_an_encrypted_key_is_told(tmp_path: Path) -> None:
    """Nobody is there to be asked for its password."""
    made = files(tmp_path, "porch")
    key = load_pem_private_key(made.key.read_bytes(), None)
    made.key.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    )
    with pytest.raises(ConfigurationError, match=r"key\.pem is encrypted"):
        made.check()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    """With the system's reason."""
    made = files(tmp_path, "porch")
    made.key.chmod(0)
    with pytest.raises(ConfigurationError, match=r"key\.pem cannot be read: Permission denied"):
        made.check()


@given(st.floats(-400, 400))
def test_the_state_follows_the_days_left(day: float) -> None:
    """Early before it begins, ending in the last thirty days, expired from its end on."""
    facts = CertificateFacts(
        name="porch", hosts=(), issuer="x", not_before=0, not_after=90 * DAY_S, for_cloud=False, for_edge=True
    )
    expected = "early" if day < 0 else "expired" if day >= 90 else "ending" if day >= 60 else "valid"
    assert facts.state(day * DAY_S) == expected


def test_the_name_is_found_in_what_ssl_tells() -> None:
    """The common name, wherever it stands in the subject; none in none."""
    told = {"subject": ((("organizationName", "house"),), (("commonName", "porch"),))}
    assert name_in(told) == "porch"
    assert name_in(None) is None
    assert name_in({}) is None


def test_both_contexts_speak_1_3_only_and_require_certificates(tmp_path: Path) -> None:
    """No lower version, no peer without a certificate, no authority but ours, and the edge checks the host."""
    cloud, edge = cloud_context(rack(tmp_path / "rack")), edge_context(files(tmp_path / "edge", "porch"))
    for context in (cloud, edge):
        assert context.minimum_version is context.maximum_version is ssl.TLSVersion.TLSv1_3
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert len(context.get_ca_certs()) == 1
    assert edge.check_hostname
    assert cloud.num_tickets == 0
