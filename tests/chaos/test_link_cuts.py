"""Facts about cut links: frames flow again, nothing is lost or left behind; and about the harness that shows it."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.chaos.answers import Answered, RecordTail, cloud_again_s, longest_gap_s
from tests.chaos.census import Census
from tests.chaos.cut_edge import Outcome
from tests.chaos.cut_report import quantile, report
from tests.chaos.cuts import AT_ONCE, HARMS, LONGEST_S, NEWCOMERS, Cut
from tests.chaos.link_cuts import draw
from tests.chaos.tiny_pair import Verdict

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.timeout(300)
def test_one_cut_of_each_kind_is_recovered_from_and_leaves_nothing_behind() -> None:
    """On three edges, one of them under TLS; `make chaos-links` does a thousand, and holds them to their bars."""
    seed = random.SystemRandom().randrange(10**6)
    command = [sys.executable, "-m", "tests.chaos.link_cuts", "--cuts", "9", "--edges", "3", "--each"]
    # In a process of its own: daemons are forked from it, and this one has computed with torch.
    done = subprocess.run(
        [*command, "--longest-s=3", "--leniency=8", f"--seed={seed}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not recovered from: 0; later than the bar: 0" in done.stdout
    assert "lost 0, doubled 0, wrong 0, garbage 0" in done.stdout


# --- the harness ------------------------------------------------------------------------------------------
def test_a_seed_tells_the_cuts() -> None:
    """A bad run can be had again, as far as moments make it; all kinds are drawn, half of the outages short."""
    cuts = draw(1000, 8, 7, LONGEST_S, each=False)
    assert cuts == draw(1000, 8, 7, LONGEST_S, each=False)
    flat = [cut for its in cuts for cut in its]
    assert len(flat) == 1000
    assert {cut.harm for cut in flat} == set(HARMS)
    assert 0.4 < sum(cut.is_short for cut in flat) / len(flat) < 0.6
    for cut in flat:
        assert cut.outage_s <= LONGEST_S
        assert cut.newcomers in NEWCOMERS[cut.harm] or (cut.harm in AT_ONCE and cut.outage_s == 0.0)


def test_each_kind_comes_in_turn_if_so_asked() -> None:
    """Over all edges together."""
    cuts = draw(9, 3, 7, 3.0, each=True)
    assert [cuts[number % 3][number // 3].harm for number in range(8)] == [*HARMS]


def line(name: str, at: float, ran: str = "cloud", total_ms: float = 100.0) -> bytes:
    answered_at = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    record = {"name": name, "answered_at": answered_at, "ms": {"total": total_ms}, "ran": ran}
    return json.dumps(record).encode() + b"\n"


def test_recovery_counts_from_a_frame_begun_after_the_outage(tmp_path: Path) -> None:
    """Neither the edge's own answers count, nor one of the cloud to what was sent before."""
    results = tmp_path / "results.jsonl"
    tail = RecordTail(results)
    assert tail.read() == ()
    results.write_bytes(
        line("0", 990.0) + line("1", 1000.05) + line("2", 1000.5, "edge after cloud") + line("3", 1001)[:20]
    )
    assert [record.name for record in tail.read()] == ["0", "1", "2"]
    assert cloud_again_s(tail, 1000.0) is None
    with results.open("ab") as file:
        file.write(line("3", 1001)[20:] + line("4", 1002.0, "split"))
    assert [record.name for record in tail.read()] == ["3", "4"]
    assert cloud_again_s(tail, 1000.0) == pytest.approx(1.0)


def test_the_longest_gap_is_found_at_the_ends_too() -> None:
    """An edge that answers nothing from the cut on has a gap up to the end of the interval."""
    tail = RecordTail(Path("nowhere"))
    tail.all = [Answered(str(at), at, at, "edge") for at in (10.0, 11.0, 11.5, 13.0)]
    assert longest_gap_s(tail, 10.0, 13.5) == pytest.approx(1.5)
    assert longest_gap_s(tail, 10.0, 20.0) == pytest.approx(7.0)
    assert longest_gap_s(tail, 2.0, 13.0) == pytest.approx(8.0)


def outcome(recovered_s: float | None, outage_s: float, gap_s: float | None = None) -> Outcome:
    cut = Cut(harm="reset", newcomers="hang", outage_s=outage_s, calm_s=1.0, limit_bytes=1)
    return Outcome(cut, "edge-0", recovered_s, gap_s)


def test_the_bars_are_those_of_the_outages_length() -> None:
    """3 s after an outage below 2 s, 12 s after any other; never is never good; frames do not stop under `auto`."""
    assert outcome(2.9, 1.9).good
    assert not outcome(3.1, 1.9).good
    assert outcome(11.9, 2.1).good
    assert not outcome(12.1, 2.1).good
    assert not outcome(None, 0.0).good
    assert outcome(None, 8.0, gap_s=2.9).good
    assert not outcome(None, 8.0, gap_s=3.1).good


def test_what_there_is_more_of_is_a_leak() -> None:
    """A descriptor or a task more, though another kind is fewer; threads beyond what their pools may have."""
    before = Census(Counter(socket=3, file=5), Counter({"Uplink.run": 1}), 4, 300.0)
    after = Census(Counter(socket=4, file=4), Counter({"Uplink.run": 1, "left": 2}), 9, 300.0)
    assert before.beyond(before, 0) == []
    assert after.beyond(before, 6) == ["descriptors {'socket': 1}", "tasks {'left': 2}"]
    assert after.beyond(before, 4)[-1] == "threads 4 → 9"
    assert after.least(before) == Census(Counter(socket=3, file=4), Counter({"Uplink.run": 1}), 4, 300.0)


def test_the_report_tells_what_is_late_and_what_is_lost() -> None:
    """Medians and worst by kind, for short outages and for long ones."""
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert quantile([1.0] * 99 + [9.0], 0.99) == 1.0
    census = {"edge-0": Census(Counter(socket=3), Counter(run=2), 4, 300.0)}
    verdict = Verdict(records=10, lost=1, doubled=2, wrong=0, garbage=0)
    outcomes = [outcome(1.0, 0.5), outcome(4.0, 0.5), outcome(None, 5.0), outcome(None, 5.0, gap_s=0.25)]
    text = report(outcomes, [verdict], census, census, 60.0)
    assert "4 cuts in 60 s" in text
    assert "reset                |     2   2.50   4.00   4.00 |     1      –      –      –" in text
    assert "not recovered from: 1; later than the bar: 1" in text
    assert "1 cuts: longest time without an answer, s:   0.25" in text
    assert "records: 10, lost 1, doubled 2" in text
    assert "3 descriptors, 2 tasks, 4 threads, 300 MB" in text
