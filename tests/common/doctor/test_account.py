"""Facts about who may do what, as the kernel says."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from common.doctor.account import account_to_check, find_account, own_account

root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask for somebody else")


def test_we_may_do_what_the_kernel_lets_us_do(tmp_path: Path) -> None:
    """Files that are there may be read; those that are not, may not."""
    (tmp_path / "file").touch()
    assert own_account().may("r", tmp_path / "file")
    assert own_account().may("x", tmp_path)
    assert not own_account().may("r", tmp_path / "nothing")


@root
def test_somebody_else_is_asked_for_as_himself(tmp_path: Path) -> None:
    """Root may read everything, so root's own answer would say nothing of the service."""
    tmp_path.chmod(0o755)
    for above in tmp_path.parents:
        if str(above).startswith("/tmp/"):
            above.chmod(above.stat().st_mode | 0o055)
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    nobody = find_account("nobody")
    assert nobody is not None
    assert own_account().may("r", secret)
    assert not nobody.may("r", secret)
    secret.chmod(0o644)
    assert nobody.may("r", secret)
    assert not nobody.may("w", secret)


@root
def test_the_units_groups_count(tmp_path: Path) -> None:
    """A camera is the group video's; the service has that group by its unit only."""
    plain, with_group = find_account("nobody"), find_account("nobody", ["daemon", "no-such-group"])
    assert plain is not None
    assert with_group is not None
    assert set(with_group.groups) - set(plain.groups) == {pwd.getpwnam("daemon").pw_gid}


def test_without_the_services_user_we_stand_in_for_him() -> None:
    """Where nothing is installed, and where we may not become him."""
    assert account_to_check("no-such-user", []) == own_account()
    assert find_account("no-such-user") is None
