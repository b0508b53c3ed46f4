"""Who a daemon runs as, and what he may do: asked of the kernel, by a child process that is him."""

from __future__ import annotations

import grp
import os
import pwd
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine, with all groups that a service of his has."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]

    @property
    def credentials(self) -> dict[str, Any]:
        """What `subprocess` needs to start a child as this user; nothing for ourselves."""
        if self.uid == os.geteuid():
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": list(self.groups)}

    def may(self, what: Literal["r", "w", "x"], path: Path) -> bool:
        """Say whether he may read, write, or enter `path`."""
        return (
            subprocess.run(["test", f"-{what}", str(path)], check=False, **self.credentials).returncode == 0
        )


def find_account(name: str, groups: Sequence[str] = ()) -> Account | None:
    """Return the user `name` with his groups, and with `groups` where they exist; none if there is no such user."""
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        return None
    known = {group.gr_name: group.gr_gid for group in grp.getgrall()}
    more = {known[group] for group in groups if group in known}
    return Account(name, user.pw_uid, user.pw_gid, tuple({*os.getgrouplist(name, user.pw_gid), *more}))


def own_account() -> Account:
    """Return who this process is."""
    uid = os.geteuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:  # a user that only a number knows
        name = str(uid)
    return Account(name, uid, os.getegid(), tuple(os.getgroups()))


def account_to_check(service_user: str, groups: Sequence[str]) -> Account:
    """Return who to check for: the service's user where there is one and we may become him, otherwise ourselves."""
    service = find_account(service_user, groups)
    return service if service is not None and os.geteuid() in (0, service.uid) else own_account()
