"""The rows of each section as Markdown. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from benchmarks.bench_bars import Verdict
from benchmarks.bench_part_rows import CodecRow, CudaRow, ExecutorRow, ManyRow, OverheadRow, RpcRow
from benchmarks.bench_part_verdicts import cuda_verdict
from benchmarks.bench_rows import (
    CLOUD_ONLY,
    EDGE_ONLY,
    MODELS,
    RATES_BPS,
    AdaptationRow,
    RegretRow,
    Spread,
    ThroughputRow,
    fallen,
    ratio,
)
from benchmarks.bench_verdicts import prediction_errors
from common.quantities import format_bandwidth


def table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay cells out as a Markdown table."""
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


VERDICT_HEADING = ("bar", "verdict", "found")


def verdict_cells(verdict: Verdict) -> list[str]:
    return [verdict.bar, str(verdict.state), verdict.found]


def regret_table(rows: Sequence[RegretRow]) -> str:
    """Return a line for each point, what is missing, and how far predictions were off."""
    heading = [
        "model", "link", "what it ran", "Cleave", "best static cut", "regret", "paired", "edge-only",
        "cloud-only", "plain edge", "HTTP upload", "cuts",
    ]  # fmt: skip
    ordered = sorted(rows, key=lambda row: (_place(row.model), row.rate_bps))
    parts = [table(heading, [_regret_cells(row) for row in ordered])]
    if missing := missing_points(rows):
        parts.append(f"Not measured: {', '.join(missing)}.")
    if unsettled := [_point(row) for row in ordered if row.settled_s is None]:
        parts.append(f"The plan had not settled in the time allowed: {', '.join(unsettled)}.")
    if errors := prediction_errors(rows):
        quarters = Spread.of(tuple(errors))
        parts.append(
            f"Predictions of {len(errors)} cuts: median error {quarters.median:+.1%}, "
            f"quartiles {quarters.low:+.1%} and {quarters.high:+.1%}."
        )
    return "\n\n".join(parts)


def _regret_cells(row: RegretRow) -> list[str]:
    best = row.best
    ends = [row.cut(label).frames for label in (EDGE_ONLY, CLOUD_ONLY)]
    ran = row.adaptive_cuts[0] + (
        f" (and {len(row.adaptive_cuts) - 1} more)" if row.adaptive_cuts[1:] else ""
    )
    return [
        row.model,
        format_bandwidth(row.rate_bps),
        ran + fallen(row.adaptive.fallbacks),
        spread(row.adaptive.spread),
        f"{spread(best.frames.spread)} {best.label}{fallen(best.frames.fallbacks)}",
        f"{row.regret:.3f}",
        f"{row.paired_regret:.3f}",
        *(f"{end.median:.0f}{fallen(end.fallbacks)}" for end in ends),
        f"{row.plain.median:.0f}",
        f"{row.http.median:.0f}",
        f"{len(row.cuts)} of {row.frontier_cuts}",
    ]


def missing_points(rows: Sequence[RegretRow]) -> list[str]:
    """Name the bars' points that there is no row of, a model that has none by its name alone."""
    found = {(row.model, row.rate_bps) for row in rows}
    missing: list[str] = []
    for model in MODELS:
        open_rates = [rate for rate in RATES_BPS if (model, rate) not in found]
        if len(open_rates) == len(RATES_BPS):
            missing.append(model)
        elif open_rates:
            missing.append(f"{model} at {', '.join(f'{rate / 1e6:g}' for rate in open_rates)} Mbit/s")
    return missing


def throughput_table(rows: Sequence[ThroughputRow]) -> str:
    heading = [
        "model", "link", "cut", "bound by", "frames/s", "head ms", "link ms", "tail ms", "of the bottleneck",
        "of iperf3",
    ]  # fmt: skip
    cells = [
        [
            row.model,
            format_bandwidth(row.rate_bps),
            row.cut,
            row.bound_by + ("" if row.slowest_stage == row.bound_by else f" (in fact: {row.slowest_stage})"),
            spread(Spread.of(row.fps), 2) + fallen(row.fallbacks),
            f"{statistics.median(row.head_ms):.1f}",
            f"{statistics.median(row.link_ms):.1f}",
            f"{statistics.median(row.tail_ms):.1f}",
            f"{row.of_bottleneck:.3f}",
            f"{row.of_iperf:.1%}" if row.bound_by == "link" or row.misread else "–",
        ]
        for row in sorted(rows, key=lambda row: (_place(row.model), row.rate_bps, row.bound_by))
    ]
    return table(heading, cells)


def overhead_table(rows: Sequence[OverheadRow]) -> str:
    least = min(row.spread.median for row in rows)
    cells = [
        [row.channel, spread(row.spread, 2), f"{ratio(row.spread.median, least):.2f}"]
        for row in sorted(rows, key=lambda row: row.spread.median)
    ]
    return table(["channel", f"ms for {rows[0].payload_bytes / 1e6:.2f} MB", "of the least"], cells)


def adaptation_table(rows: Sequence[AdaptationRow]) -> str:
    heading = [
        "model", "step", "plan before", "plan after", "right plan after", "frames", "lost, twice, failed",
        "worst frame", "allowed", "new steady median",
    ]  # fmt: skip
    cells = [
        [
            row.model,
            f"{row.from_bps / 1e6:g} → {format_bandwidth(row.to_bps)}",
            row.cut_before,
            row.cut_after,
            "never" if row.planned_s is None else f"{row.planned_s:.1f} s",
            str(row.frames),
            f"{row.lost}, {row.duplicated}, {row.failed}",
            f"{row.worst_ms:.0f}",
            f"{row.allowed_ms:.0f}",
            f"{row.steady_ms:.0f}",
        ]
        for row in sorted(rows, key=lambda row: (_place(row.model), row.step))
    ]
    return table(heading, cells)


def executor_table(rows: Sequence[ExecutorRow]) -> str:
    heading = ["model", "plain eager", "torch", "onnxruntime", "plain / onnx", "torch / onnx"]
    cells = [
        [
            row.model,
            spread(row.plain, 1),
            spread(row.torch, 1),
            spread(row.onnxruntime, 1),
            f"{ratio(row.plain.median, row.onnxruntime.median):.2f}",
            f"{ratio(row.torch.median, row.onnxruntime.median):.2f}",
        ]
        for row in sorted(rows, key=lambda row: _place(row.model))
    ]
    apart = max(row.difference for row in rows)
    return table(heading, cells) + f"\n\nThe logits lie {apart:.0e} of the largest apart at most."


def codec_table(rows: Sequence[CodecRow]) -> str:
    heading = [
        "cut", "float32", "int8-zstd", "of float32", "right before", "right after", "encode", "decode", "saved",
        "of saved",
    ]  # fmt: skip
    cells = [
        [
            row.cut,
            f"{row.raw_bytes:.0f}",
            f"{row.packed_bytes:.0f}",
            f"{row.of_raw:.3f}",
            f"{row.raw_accuracy:.1%}",
            f"{row.accuracy:.1%}",
            f"{row.encode_ms:.2f}",
            f"{row.decode_ms:.2f}",
            f"{row.saved_ms:.1f}",
            f"{row.of_saved:.1%}",
        ]
        for row in rows
    ]
    return table(heading, cells)


def cuda_table(rows: Sequence[CudaRow]) -> str:
    """Return the bar's verdict, and a line for each batch: a GPU's machine is seldom that of the other sections."""
    heading = ["model", "frames", "in batches of", "daemon", "torchvision", "our tail", "daemon / bare"]
    cells = [
        [
            row.model,
            str(row.batch),
            ", ".join(map(str, row.ran_in)),
            spread(row.daemon, 2),
            spread(row.plain, 2),
            spread(row.own, 2),
            f"{row.of_bare:.2f}",
        ]
        for row in sorted(rows, key=lambda row: (_place(row.model), row.batch))
    ]
    verdict = cuda_verdict(rows)
    devices = ", ".join(sorted({row.device for row in rows}))
    return "\n\n".join(
        [f"On {devices}.", table(VERDICT_HEADING, [verdict_cells(verdict)]), table(heading, cells)]
    )


def rpc_table(rows: Sequence[RpcRow]) -> str:
    heading = ["model", "link", "cut", "ours", "RPC", "RPC / ours", "ours, frames/s", "RPC, frames/s"]
    cells = [
        [
            row.model, row.link, row.cut, f"{row.ours_ms:.1f}", f"{row.rpc_ms:.1f}",
            f"{ratio(row.rpc_ms, row.ours_ms):.2f}", f"{row.ours_fps:.2f}", f"{row.rpc_fps:.2f}",
        ]
        for row in rows
    ]  # fmt: skip
    return table(heading, cells)


def many_table(rows: Sequence[ManyRow]) -> str:
    heading = [
        "model, cut", "edges", "executor", "crossing", "batches", "frames/s", "of the executor alone",
        "slowest edge / mean", "busy, failed",
    ]  # fmt: skip
    cells = [
        [
            f"{row.model}, {row.cut}",
            str(row.edges),
            row.executor,
            f"{row.payload_bytes / 1e3:.0f} kB",
            ", ".join(map(str, row.batches)),
            spread(Spread.of(row.fps)),
            f"{row.of_alone:.2f}",
            f"{row.of_mean:.2f}",
            f"{row.busy}, {row.failed}",
        ]
        for row in sorted(rows, key=lambda row: _place(row.model))
    ]
    return table(heading, cells)


def spread(values: Spread, digits: int = 0) -> str:
    """Show a median with its quartiles in brackets."""
    return f"{values.median:.{digits}f} ({values.low:.{digits}f}–{values.high:.{digits}f})"


def _point(row: RegretRow) -> str:
    return f"{row.model} at {row.rate_bps / 1e6:g} Mbit/s"


def _place(model: str) -> tuple[int, str]:
    """Models in the order of the bars, others after them."""
    return (MODELS.index(model) if model in MODELS else len(MODELS), model)
