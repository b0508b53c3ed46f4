"""Facts about findings and how they are told."""

from __future__ import annotations

import json

import pytest

from common.doctor.finding import Finding, Verdict, as_document, exit_status, fail, ok, report, warn

FINE, ODD, BROKEN = (
    ok("Python", "3.11.2"),
    warn("heat", "85 °C", "a fan"),
    fail("disk", "0 MB free", "make room"),
)


def test_what_is_wrong_has_a_cure_and_what_is_well_has_none() -> None:
    """A complaint without a cure cannot be made."""
    with pytest.raises(ValueError, match="disk: fail without a cure"):
        Finding(Verdict.FAIL, "disk", "0 MB free")
    with pytest.raises(ValueError, match="Python: ok with a cure"):
        Finding(Verdict.OK, "Python", "3.11.2", "none needed")


def test_only_what_is_broken_is_a_failure() -> None:
    """A warning leaves the status 0: the daemon works."""
    assert exit_status([FINE]) == 0
    assert exit_status([FINE, ODD]) == 0
    assert exit_status([FINE, ODD, BROKEN]) == 1


def test_the_report_shows_each_with_its_cure_and_counts_them() -> None:
    """What is wrong stands out in capitals."""
    assert report("doctor", [FINE, ODD, BROKEN], 100).splitlines() == [
        "doctor",
        "  ok    Python  3.11.2",
        "  WARN  heat    85 °C",
        "          mend: a fan",
        "  FAIL  disk    0 MB free",
        "          mend: make room",
        "1 fine, 1 to look at, 1 broken",
    ]


def test_long_lines_are_wrapped_and_paths_stay_whole() -> None:
    """A command that is to be copied is not broken in a word."""
    path = "/var/lib/cleave-edge/" + "x" * 90
    text = report("doctor", [fail("frames", f"there is no {path}", f"mkdir {path}")], 60)
    assert text.count(path) == 2
    assert all(len(line) <= 60 for line in text.splitlines() if path not in line)


def test_the_document_says_whether_all_is_well() -> None:
    """And can be written as JSON."""
    document = json.loads(json.dumps(as_document([FINE, BROKEN])))
    assert document["ok"] is False
    assert document["findings"][1] == {
        "verdict": "fail",
        "what": "disk",
        "said": "0 MB free",
        "cure": "make room",
    }
