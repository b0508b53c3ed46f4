"""Facts about kill -9: whichever daemon is killed whenever, each file has exactly one record, and the right one."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.kill_rounds import MOMENTS, VICTIMS, Moment
from tests.chaos.tiny_pair import Verdict, judge, tracebacks
from tests.edge_daemon.records import line

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.timeout(300)
def test_a_few_rounds_lose_and_double_nothing() -> None:
    """Two kills each of edge, cloud and both in a run of 150 files; `make chaos` does a hundred each, of 500."""
    seed = random.SystemRandom().randrange(10**6)
    # In a process of its own: daemons are forked from it, and this one has computed with torch.
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.chaos.kill_rounds",
            "--rounds",
            "2",
            "--files",
            "150",
            f"--seed={seed}",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    for victim in VICTIMS:
        assert (
            f"{victim:5}: 2 rounds of 150 files: 300 records, 0 lost, 0 doubled, 0 bad rounds" in done.stdout
        )


def test_a_seed_tells_the_moments() -> None:
    """A bad round can be had again, as far as moments make it; all kinds of moments are drawn."""
    draws = [[Moment.draw(random.Random(f"7 {victim}"), victim) for victim in VICTIMS] for _ in range(2)]
    assert draws[0] == draws[1]
    rng = random.Random(7)
    assert {Moment.draw(rng, "both").kind for _ in range(100)} == set(MOMENTS)


def test_the_judge_sees_what_is_wrong() -> None:
    """The rounds above can fail: each kind of fault is found in a file that has it."""
    names = ["0.jpg", "1.jpg"]
    right = {"0.jpg": 7, "1.jpg": 7}
    assert judge(line(0) + line(1), names, right) == Verdict(records=2, lost=0, doubled=0, wrong=0, garbage=0)
    assert judge(line(0), names).lost == 1
    assert judge(line(0) + line(1) + line(0), names).doubled == 1
    assert judge(line(0) + line(1), names, right | {"1.jpg": 3}).wrong == 1
    assert judge(line(0) + line(1)[:-1], names).garbage == 1
    assert judge(line(0) + b"\0\0\n" + line(1), names).garbage == 1
    assert judge(line(0) + line(1) + line(2), names).garbage == 1
    assert not judge(line(0), names).good


def test_a_log_with_anything_but_entries_is_a_complaint(tmp_path: Path) -> None:
    """A traceback, whether logged or printed, makes a round a bad one."""
    log = tmp_path / "log"
    log.write_text('{"event": "fine"}\n')
    assert tracebacks(log) == []
    log.write_text(
        '{"event": "fine"}\nTraceback (most recent call last):\n{"event": "x", "exception": "…"}\n'
    )
    assert len(tracebacks(log)) == 2
