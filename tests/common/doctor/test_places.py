"""Facts about judging the paths that settings name, on real directories."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from common.doctor.account import own_account
from common.doctor.finding import Verdict
from common.doctor.places import PlaceFacts, check_frames, check_results, check_state, check_weights, look_at


def seen(path: Path) -> PlaceFacts:
    return look_at("CLEAVE_SOME_PATH", path, own_account())


def test_what_is_there_and_may_be_used_is_well(tmp_path: Path) -> None:
    """A directory of frames; results and state that are there, or that the daemon can make; weights."""
    file = tmp_path / "file"
    file.touch()
    roomy = [replace(seen(path), free_mb=5000) for path in (file, tmp_path / "new" / "results.jsonl")]
    assert check_frames(seen(tmp_path)).verdict is Verdict.OK
    assert check_weights(seen(file)).verdict is Verdict.OK
    assert {check_results(facts).verdict for facts in roomy} == {Verdict.OK}
    state = [replace(seen(path), free_mb=5000) for path in (tmp_path, tmp_path / "a" / "b")]
    assert {check_state(facts).verdict for facts in state} == {Verdict.OK}


def test_free_room_is_told_for_what_is_not_there_yet(tmp_path: Path) -> None:
    """The disk is that of the nearest directory above."""
    assert seen(tmp_path / "a" / "b" / "c").free_mb > 0
    assert seen(tmp_path / "a" / "b" / "c").above == tmp_path


@pytest.mark.parametrize(
    ("check", "fault", "said", "cure"),
    [
        (check_frames, {"exists": False}, "does not exist", "install -d -o cleave-edge"),
        (check_frames, {"is_directory": False}, "is no directory", "directory of images"),
        (check_frames, {"readable": False}, "may not be read by cleave-edge", "chgrp cleave-edge"),
        (check_results, {"is_directory": True}, "is a directory", "name a file"),
        (check_results, {"writable": False}, "may not be written by cleave-edge", "chown cleave-edge"),
        (check_results, {"exists": False, "above_writable": False}, "may not be written", "install -d"),
        (check_results, {"free_mb": 12}, "12 MB free", "make room"),
        (check_results, {"free_mb": 500}, "500 MB free", "make room"),
        (check_state, {"writable": False}, "may not be written", "chown -R cleave-edge"),
        (check_state, {"exists": False, "above_writable": False}, "may not be written", "install -d"),
        (check_state, {"free_mb": 12}, "12 MB free", "make room"),
        (check_weights, {"exists": False}, "does not exist", "bring the file"),
        (check_weights, {"readable": False}, "may not be read", "chmod a+r"),
    ],
)
def test_each_fault_is_found_with_its_cure(check, fault, said, cure) -> None:  # type: ignore[no-untyped-def]
    """With the setting, the path, and the user whose rights are meant."""
    healthy = PlaceFacts(
        setting="CLEAVE_SOME_PATH",
        path=Path("/srv/place"),
        exists=True,
        is_directory=check in (check_frames, check_state),
        readable=True,
        writable=True,
        above=Path("/srv"),
        above_writable=True,
        free_mb=5000,
        user="cleave-edge",
    )
    assert check(healthy).verdict is Verdict.OK
    finding = check(replace(healthy, **fault))
    assert finding.verdict is not Verdict.OK
    assert said in finding.said
    assert "/srv/place" in finding.said
    assert cure in finding.cure
