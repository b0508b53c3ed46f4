"""What the rounds of a crowd of edges come to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.bench_many import HEADING, Crowd, Load, Round, line, row_of, tail_of

TINY = "tests.tiny_model:factory"
ROUND = Round(
    fps=90.0,
    bare_fps=100.0,
    answers=(20, 30, 40),
    batches={1: 3, 8: 40},
    latency_ms=350.0,
    others_ms=300.0,
    busy=1,
    failed=2,
)


def test_the_slowest_edge_is_compared_with_the_mean() -> None:
    """And all edges together with the executor alone; what was never measured is no share of anything."""
    assert ROUND.slowest == pytest.approx(20 / 30)
    assert ROUND.of_alone == pytest.approx(0.9)
    assert replace(ROUND, bare_fps=0.0).of_alone == 0.0
    assert replace(ROUND, answers=(0, 0)).slowest == 0.0


def test_a_crowd_is_a_row() -> None:
    """Round by round; the sizes that most frames ran in are named, a stray frame's is not."""
    load = Load(model="resnet18", cut="after add_3")
    row = row_of(load, Crowd("onnxruntime", 401_408, (ROUND, replace(ROUND, fps=95.0, batches={4: 40}))))
    assert (row.model, row.cut, row.executor, row.edges) == ("resnet18", "after add_3", "onnxruntime", 16)
    assert row.batches == (4, 8)
    assert row.fps == (90.0, 95.0)
    assert row.of_alone == pytest.approx(0.925)
    assert row.of_mean == pytest.approx(20 / 30)
    assert (row.busy, row.failed) == (2, 4)


def test_a_cut_without_a_tail_of_the_network_is_refused() -> None:
    """The message says which cuts have one."""
    for cut in ("edge-only", "cloud-only", "after resize"):
        with pytest.raises(ValueError, match=f"{cut}: the cut must leave the network"):
            tail_of(Load(model=TINY, cut=cut))
    assert tail_of(Load(model=TINY, cut="after normalize"))[1].label == "after normalize"


def test_a_round_is_shown_under_its_heading() -> None:
    """A line has each of the heading's figures."""
    assert HEADING.split()[:3] == ["frames/s", "alone", "ratio"]
    assert line(ROUND).split() == [
        "90.0", "100.0", "0.90", "20", "30.0", "40", "0.67", "350", "300", "1/2", "{1:", "3,", "8:", "40}",
    ]  # fmt: skip
