"""Facts about judging certificates, on real ones."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cloud_daemon.access import check_role
from common.doctor.certificates import TlsSeen, check_certificates, look_at_certificates
from common.doctor.finding import Verdict
from common.tls.certificates import DAY_S
from tests.certificates import NOW, authority, files, rack

NOW_S = NOW.timestamp()


def seen(directory: Path) -> TlsSeen:
    return look_at_certificates("CLEAVE_EDGE_TLS", directory, lambda _: None)


def test_a_good_certificate_is_told_with_its_end(tmp_path: Path) -> None:
    """Whose it is, by whom, until when."""
    finding = check_certificates(seen(files(tmp_path, "porch").directory), NOW_S)
    assert finding.verdict is Verdict.OK
    assert "porch, issued by our house, until" in finding.said


@pytest.mark.parametrize(
    ("after_days", "verdict", "said", "cure"),
    [
        (91, "fail", "has ended", "pki issue porch … --replace"),
        (70, "warn", "ends in", "pki issue porch … --replace"),
        (-400, "fail", "clock says", "set-ntp true"),
    ],
)
def test_a_certificate_is_judged_by_the_clock(
    after_days: int, verdict: str, said: str, cure: str, tmp_path: Path
) -> None:
    """Ended, about to end, not begun: the last is a matter of this machine's clock."""
    finding = check_certificates(seen(files(tmp_path, "porch").directory), NOW_S + after_days * DAY_S)
    assert (finding.verdict, finding.what) == (verdict, "certificate")
    assert said in finding.said
    assert cure in finding.cure


def _swap_key(directory: Path) -> None:
    other = files(directory / "other", "shed")
    shutil.copy(other.key, directory / "key.pem")


def _swap_authority(directory: Path) -> None:
    stranger = authority("another house").own.certificate_pem
    (directory / "ca.pem").write_bytes(stranger)


@pytest.mark.parametrize(
    ("fault", "said", "cure"),
    [
        (
            lambda directory: (directory / "cert.pem").unlink(),
            "cert.pem is missing",
            "bring cert.pem, key.pem",
        ),
        (lambda directory: (directory / "key.pem").chmod(0o644), "may be read by anybody", "chmod 600"),
        (_swap_key, "is not the key of cert.pem", "from the same"),
        (_swap_authority, "was not issued by", "same authority"),
        (lambda directory: (directory / "ca.pem").write_text("x"), "no certificate in PEM", "damaged"),
    ],
)
def test_each_fault_of_the_files_has_its_cure(
    fault: Callable[[Path], None], said: str, cure: str, tmp_path: Path
) -> None:
    """Missing, readable for anybody, of two issues, of another authority, damaged."""
    directory = files(tmp_path, "porch").directory
    fault(directory)
    finding = check_certificates(seen(directory), NOW_S)
    assert finding.verdict is Verdict.FAIL
    assert said in finding.said
    assert cure in finding.cure


def test_a_certificate_for_the_other_role_is_found(tmp_path: Path) -> None:
    """By the daemon's own check."""
    edge = files(tmp_path / "edge", "porch").directory
    finding = check_certificates(look_at_certificates("CLEAVE_CLOUD_TLS", edge, check_role), NOW_S)
    assert "certificate of the edge porch" in finding.said
    assert "--cloud" in finding.cure
    cloud = rack(tmp_path / "cloud").directory
    finding = check_certificates(look_at_certificates("CLEAVE_CLOUD_TLS", cloud, check_role), NOW_S)
    assert finding.verdict is Verdict.OK
    assert datetime.datetime.fromtimestamp(NOW_S, datetime.UTC) == NOW
