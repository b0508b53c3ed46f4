"""Rows as Markdown."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.bench_part_rows import ExecutorRow, OverheadRow, RpcRow
from benchmarks.bench_rows import CLOUD_ONLY, MODELS, Spread
from benchmarks.bench_tables import (
    adaptation_table,
    executor_table,
    many_table,
    missing_points,
    overhead_table,
    regret_table,
    rpc_table,
    throughput_table,
)
from tests.benchmarks.bench_examples import adaptation_row, many_row, regret_row, throughput_row


def test_points_stand_in_the_order_of_models_and_links() -> None:
    """Whatever order they were measured in; a line has what ran, what was best, and what else was compared."""
    rows = [
        regret_row(model="vgg16", rate_bps=1e6),
        regret_row(rate_bps=8e6),
        regret_row(104.0, rate_bps=1e6),
    ]
    lines = [line for line in regret_table(rows).splitlines() if line.startswith("| ")][2:]
    assert [line.split(" | ")[:2] for line in lines] == [
        ["| resnet18", "1 Mbit/s"],
        ["| resnet18", "8 Mbit/s"],
        ["| vgg16", "1 Mbit/s"],
    ]
    assert lines[0] == (
        "| resnet18 | 1 Mbit/s | cloud-only | 104 (104–104) | 100 (100–100) cloud-only | 1.040 | 1.040 "
        "| 300 | 100 | 500 | 120 | 3 of 40 |"
    )


def test_what_is_missing_and_what_had_not_settled_is_said() -> None:
    """A model without any point is named alone, others with their links."""
    rows = [replace(regret_row(rate_bps=1e6), settled_s=None)]
    missing = missing_points(rows)
    assert missing[0] == "mobilenet_v2"
    assert missing[1] == "resnet18 at 4, 8, 20, 50, 100, 500 Mbit/s"
    assert len(missing) == len(MODELS)
    text = regret_table(rows)
    assert "Not measured: mobilenet_v2, resnet18 at 4" in text
    assert "not settled in the time allowed: resnet18 at 1 Mbit/s." in text


def test_frames_that_fell_back_and_other_cuts_are_told() -> None:
    row = regret_row()
    row = replace(
        row, adaptive=replace(row.adaptive, fallbacks=2), adaptive_cuts=(CLOUD_ONLY, "edge-only", "after x")
    )
    assert "| cloud-only (and 2 more), 2 frames failed or finished on the edge |" in regret_table([row])


def test_static_cuts_frames_that_fell_back_are_told() -> None:
    """An oracle whose frames ran elsewhere is none, and an end that was let down is no yardstick."""
    row = regret_row(middle=90.0)
    counts = {"after conv": 1, CLOUD_ONLY: 3}
    cuts = [replace(cut, frames=replace(cut.frames, fallbacks=counts.get(cut.label, 0))) for cut in row.cuts]
    text = regret_table([replace(row, cuts=tuple(cuts))])
    assert "| 90 (90–90) after conv, 1 frame failed or finished on the edge |" in text
    assert "| 300 | 100, 3 frames failed or finished on the edge |" in text


def test_frames_that_are_none_of_the_rates_are_told() -> None:
    """And so is a reading of the link that cannot be true, whichever stage bounds the cut."""
    text = throughput_table([throughput_row(fallbacks=2), throughput_row(bound_by="edge", bytes_per_s=1.2e6)])
    assert "| 9.50 (9.50–9.50), 2 frames failed or finished on the edge |" in text
    assert "| 0.950 | 120.0% |" in text


def test_a_cut_that_another_stage_bounds_is_told() -> None:
    """Predicted to be bound by the cloud, and in fact by the link; iperf3 is of no interest then."""
    text = throughput_table([throughput_row(), throughput_row(bound_by="cloud")])
    assert "| cloud (in fact: link) |" in text
    assert "| 0.950 | 96.0% |" in text
    assert "| 0.950 | – |" in text


def test_channels_stand_in_the_order_of_their_speed() -> None:
    rows = [
        OverheadRow(channel=name, payload_bytes=800_000, rounds=((ms, ms), (ms,)))
        for name, ms in (("ours", 0.3), ("bare", 0.2))
    ]
    lines = overhead_table(rows).splitlines()
    assert lines[0] == "| channel | ms for 0.80 MB | of the least |"
    assert lines[2:] == ["| bare | 0.20 (0.20–0.20) | 1.00 |", "| ours | 0.30 (0.30–0.30) | 1.50 |"]


def test_a_plan_that_never_came_is_told() -> None:
    text = adaptation_table([adaptation_row(), replace(adaptation_row(planned_s=None), step=2)])
    assert (
        "| resnet18 | 50 → 4 Mbit/s | cloud-only | edge-only | 4.0 s | 50 | 0, 0, 0 | 500 | 1000 | 300 |"
        in text
    )
    assert "| never |" in text


def test_executors_and_rpc_have_their_ratios() -> None:
    spreads = {
        name: Spread(ms, ms, ms) for name, ms in (("plain", 30.0), ("torch", 20.0), ("onnxruntime", 10.0))
    }
    text = executor_table([ExecutorRow(model="m", difference=3e-6, **spreads)])
    assert "| 3.00 | 2.00 |" in text
    assert "3e-06" in text
    row = RpcRow(
        model="m", link="20 Mbit/s", cut="after x", ours_ms=100.0, rpc_ms=103.0, ours_fps=3.0, rpc_fps=3.1
    )
    assert "| 100.0 | 103.0 | 1.03 | 3.00 | 3.10 |" in rpc_table([row])


def test_a_crowds_line_has_its_frames_and_those_that_were_not_answered() -> None:
    """Models in the order of the bars, each cut with what it is compared with."""
    text = many_table([many_row(busy=3, failed=2), many_row(model="mobilenet_v2")])
    lines = text.splitlines()[2:]
    assert lines[0].startswith("| mobilenet_v2, after add_3 |")
    assert lines[1] == (
        "| resnet18, after add_3 | 16 | onnxruntime | 401 kB | 4, 8 | 95 (95–95) | 0.95 | 0.90 | 3, 2 |"
    )
