"""The files and directories that settings name: are they there, may the daemon use them, is there room?"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from common.doctor.account import Account
from common.doctor.finding import Finding, fail, ok, warn

MIB = 2**20
LEAST_ROOM_MB = 100
"""Below, an exported network and a day of results may not fit."""
LITTLE_ROOM_MB = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceFacts:
    """What is seen of a path that `setting` names, for `user`.

    `above` is the nearest directory above it that exists: where the path does not, the daemon makes what is missing
    there, if it may (`above_writable`).
    """

    setting: str
    path: Path
    exists: bool
    is_directory: bool
    readable: bool
    writable: bool
    above: Path
    above_writable: bool
    free_mb: int
    user: str


def look_at(setting: str, path: Path, account: Account) -> PlaceFacts:
    """Gather the facts about a path, as `account` sees it."""
    # Not Path.exists and the like: they raise for what lies in a directory that we may not enter.
    is_directory = os.path.isdir(path)
    above = next(place for place in path.parents if os.path.isdir(place))
    return PlaceFacts(
        setting=setting,
        path=path,
        exists=os.path.exists(path),
        is_directory=is_directory,
        readable=account.may("r", path) and (not is_directory or account.may("x", path)),
        writable=account.may("w", path),
        above=above,
        above_writable=account.may("w", above),
        free_mb=_free_mb(path),
        user=account.name,
    )


def check_frames(facts: PlaceFacts) -> Finding:
    """Judge the directory that frames come from."""
    if not facts.exists:
        return fail(
            "frames",
            f"{facts.setting}={facts.path} does not exist",
            f"install -d -o {facts.user} -m 2770 {facts.path}, or name the directory of your images",
        )
    if not facts.is_directory:
        return fail("frames", f"{facts.setting}={facts.path} is no directory", "name a directory of images")
    if not facts.readable:
        return fail(
            "frames",
            f"{facts.setting}={facts.path} may not be read by {facts.user}",
            f"chgrp {facts.user} {facts.path} && chmod g+rx {facts.path}, and x for the directories above it",
        )
    return ok("frames", str(facts.path))


def check_results(facts: PlaceFacts) -> Finding:
    """Judge the file that results are written to."""
    if facts.is_directory:
        return fail("results", f"{facts.setting}={facts.path} is a directory", "name a file in it")
    if not (facts.writable if facts.exists else facts.above_writable):
        mend = (
            f"chown {facts.user} {facts.path}"
            if facts.exists
            else f"install -d -o {facts.user} {facts.path.parent}"
        )
        return fail("results", f"{facts.setting}={facts.path} may not be written by {facts.user}", mend)
    return _check_room("results", facts)


def check_state(facts: PlaceFacts) -> Finding:
    """Judge the state directory; systemd makes a service's own, and so may the daemon."""
    writable = facts.writable and facts.is_directory if facts.exists else facts.above_writable
    if not writable:
        return fail(
            "state",
            f"{facts.setting}={facts.path} may not be written by {facts.user}: nothing measured would be kept",
            f"chown -R {facts.user} {facts.path}"
            if facts.exists
            else f"install -d -o {facts.user} {facts.path}",
        )
    return _check_room("state", facts)


def check_weights(facts: PlaceFacts) -> Finding:
    """Judge a file of weights."""
    if not facts.exists:
        return fail(
            "weights",
            f"{facts.setting}={facts.path} does not exist",
            "bring the file there, or correct the path",
        )
    if not facts.readable:
        return fail(
            "weights",
            f"{facts.setting}={facts.path} may not be read by {facts.user}",
            f"chmod a+r {facts.path}, and x for the directories above it",
        )
    return ok("weights", str(facts.path))


def _check_room(what: str, facts: PlaceFacts) -> Finding:
    said = f"{facts.path}, {facts.free_mb} MB free"
    cure = "make room, or let results and state lie on a larger disk"
    if facts.free_mb < LEAST_ROOM_MB:
        return fail(what, f"{said}; {LEAST_ROOM_MB} MB are the least", cure)
    if facts.free_mb < LITTLE_ROOM_MB:
        return warn(what, said, cure)
    return ok(what, said)


def _free_mb(path: Path) -> int:
    for place in (path, *path.parents):
        try:
            room = os.statvfs(place)
        except OSError:
            continue
        return room.f_bavail * room.f_frsize // MIB
    return 0
