"""Facts about a crowd at one cloud: a small one is served whole, and the verdict can be a bad one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos.crowd_verdict import Crowd, Served
from tests.chaos.run_short import run_short


@pytest.mark.timeout(200)
def test_a_small_crowd_is_let_in_served_and_kept(tmp_path: Path) -> None:
    """More than the door has places for come at once. How evenly they are served in two seconds is not judged."""
    done = run_short(
        "crowd", "--active", "16", "--idle", "24", "--seconds", "2", "--out", str(tmp_path)
    )  # fmt: skip
    crowd = json.loads((tmp_path / "crowd.json").read_text())
    assert crowd["idle_lost"] == 0
    assert crowd["descriptors"][1] - crowd["descriptors"][0] >= 40
    assert all(one["answers"] > 0 for one in crowd["active"])
    assert all(one["failed"] == one["unanswered"] == 0 for one in crowd["active"])
    assert "Traceback" not in done.stderr


SERVED = Served(answers=100, busy=5, failed=0, unanswered=0, longest_gap_s=0.5)
CROWD = Crowd(
    seconds=10.0,
    active=(SERVED,) * 4,
    idle=8,
    idle_lost=0,
    arrival_s=1.0,
    attempts=20,
    newcomer_s=0.3,
    descriptors=(15, 40),
    rss_mib=(300.0, 310.0, 312.0),
)


def test_a_crowd_that_is_served_misses_nothing() -> None:
    assert CROWD.missed() == []
    assert "20 of 420 frames told Busy" in CROWD.report()


@pytest.mark.parametrize(
    ("worse", "said"),
    [
        (replace(SERVED, answers=40), "an edge got 0.47 of what they get in the mean"),
        (replace(SERVED, longest_gap_s=9.0), "no answer for 9.0 s"),
        (replace(SERVED, failed=2), "2 frames failed"),
        (replace(SERVED, unanswered=1), "1 frames were neither answered nor told Busy"),
    ],
)
def test_one_edge_that_is_served_badly_is_enough(worse: Served, said: str) -> None:
    (found,) = replace(CROWD, active=(SERVED,) * 3 + (worse,)).missed()
    assert said in found


@pytest.mark.parametrize(
    ("worse", "said"),
    [
        ({"idle_lost": 1}, "1 of 8 idle edges were lost"),
        ({"arrival_s": 31.0}, "until all were in"),
        ({"newcomer_s": None}, "a newcomer"),
        ({"newcomer_s": 6.0}, "a newcomer"),
    ],
)
def test_whoever_only_waits_must_not_be_lost(worse: dict[str, object], said: str) -> None:
    (found,) = replace(CROWD, **worse).missed()  # type: ignore[arg-type]
    assert said in found
