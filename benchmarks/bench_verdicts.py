"""The bars that the pair is held to, each with what was measured and whether that meets it. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from benchmarks.bench_part_rows import CodecRow, CudaRow, ExecutorRow, OverheadRow
from benchmarks.bench_rows import EDGE_ONLY, MODELS, RATES_BPS, AdaptationRow, RegretRow, ThroughputRow

POINTS = len(MODELS) * len(RATES_BPS)
REGRET, REGRET_SHARE, REGRET_WORST, AGAINST_ENDS = 1.05, 0.90, 1.15, 1.05
PREDICTION, PREDICTION_SHARE = 0.10, 0.90
OF_BOTTLENECK, OF_IPERF = 0.93, 0.95
OF_BARE, RPC_FACTOR = 1.5, 1.5
REPLANNED_WITHIN_S = 1.0
OF_RAW, POINTS_LOST, OF_SAVED = 0.2, 0.005, 0.15
ONNX_FACTOR, ONNX_MODELS = 1.3, 4
CUDA_OF_BARE, CUDA_BATCH, CUDA_MODELS = 1.2, 8, ("resnet50", "inception_v3")
OURS, BARE, RPC = "ours", "bare sockets", "torch RPC"


class State(StrEnum):
    MET = "met"
    MISSED = "**not met**"
    PARTLY = "met as far as measured"
    OPEN = "not measured"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One bar: what it asks, what was found."""

    bar: str
    state: State
    found: str


def verdicts(
    regret: Sequence[RegretRow],
    throughput: Sequence[ThroughputRow],
    overhead: Sequence[OverheadRow],
    adaptation: Sequence[AdaptationRow],
    codecs: Sequence[CodecRow] = (),
    executors: Sequence[ExecutorRow] = (),
) -> list[Verdict]:
    """Judge all bars."""
    return [
        *_regret(regret),
        _prediction(regret),
        *_throughput(throughput),
        *_overhead(overhead),
        _executors(executors),
        *_codecs(codecs),
        *_adaptation(adaptation),
    ]


def covers_all_points(rows: Sequence[RegretRow]) -> bool:
    """Say whether every model of the bars was measured on every link of theirs."""
    wanted = {(model, rate) for model in MODELS for rate in RATES_BPS}
    return wanted <= {(row.model, row.rate_bps) for row in rows}


def _state(met: bool, whole: bool = True) -> State:
    return (State.MET if whole else State.PARTLY) if met else State.MISSED


def _name(row: RegretRow | ThroughputRow) -> str:
    return f"{row.model} at {row.rate_bps / 1e6:g} Mbit/s"


def _regret(rows: Sequence[RegretRow]) -> list[Verdict]:
    bars = (
        f"latency ≤ {REGRET} × the best static cut at ≥ {REGRET_SHARE:.0%} of the {POINTS} points",
        f"latency ≤ {REGRET_WORST} × the best static cut at all of them",
        f"latency never above {AGAINST_ENDS} × the better of edge-only and cloud-only",
    )
    if not rows:
        return [Verdict(bar, State.OPEN, "") for bar in bars]
    whole = covers_all_points(rows)
    near = sum(row.regret <= REGRET for row in rows)
    worst = max(rows, key=lambda row: row.regret)
    behind = max(rows, key=lambda row: row.against_ends)
    above = sum(row.against_ends > AGAINST_ENDS for row in rows)
    found = (
        f"{near} of {len(rows)} points; median {statistics.median(row.regret for row in rows):.3f}",
        f"worst {worst.regret:.3f} ({_name(worst)})",
        f"worst {behind.against_ends:.3f} ({_name(behind)}); above at {above} of {len(rows)} points",
    )
    met = (near >= REGRET_SHARE * len(rows), worst.regret <= REGRET_WORST, above == 0)
    return [Verdict(b, _state(m, whole), f) for b, m, f in zip(bars, met, found, strict=True)]


def prediction_errors(rows: Sequence[RegretRow]) -> list[float]:
    """Return all predictions' errors. Edge-only has none: it is what tells the edge's speed."""
    predicted = (cut for row in rows for cut in row.cuts if cut.label != EDGE_ONLY)
    return [error for cut in predicted if (error := cut.prediction_error) is not None]


def _prediction(rows: Sequence[RegretRow]) -> Verdict:
    bar = f"predicted latency within {PREDICTION:.0%} of the measured one for {PREDICTION_SHARE:.0%} of the cuts"
    errors = prediction_errors(rows)
    if not errors:
        return Verdict(bar, State.OPEN, "")
    within = sum(abs(error) <= PREDICTION for error in errors) / len(errors)
    found = (
        f"{within:.0%} of {len(errors)} cuts; median {statistics.median(errors):+.1%}, "
        f"worst {max(errors, key=abs):+.0%}"
    )
    return Verdict(bar, _state(within >= PREDICTION_SHARE, covers_all_points(rows)), found)


def _throughput(rows: Sequence[ThroughputRow]) -> list[Verdict]:
    bars = (
        f"saturated ≥ {OF_BOTTLENECK} of what the slowest stage allows",
        f"cuts bound by the link move ≥ {OF_IPERF:.0%} of what iperf3 measures",
    )
    link = [row for row in rows if row.bound_by == "link"]
    found: list[Verdict] = []
    if rows:
        least = min(rows, key=lambda row: row.of_bottleneck)
        enough = sum(row.of_bottleneck >= OF_BOTTLENECK for row in rows)
        text = f"{enough} of {len(rows)} cuts; least {least.of_bottleneck:.3f} ({_name(least)}, {least.cut})"
        found.append(Verdict(bars[0], _state(enough == len(rows)), text))
    else:
        found.append(Verdict(bars[0], State.OPEN, ""))
    if link:
        least = min(link, key=lambda row: row.of_iperf)
        text = f"least {least.of_iperf:.1%} ({_name(least)}, {least.cut})"
        found.append(Verdict(bars[1], _state(least.of_iperf >= OF_IPERF), text))
    else:
        found.append(Verdict(bars[1], State.OPEN, ""))
    return found


def _overhead(rows: Sequence[OverheadRow]) -> list[Verdict]:
    bars = (
        f"a crossing tensor's round trip ≤ {OF_BARE} × that of bare blocking sockets",
        f"… and at least {RPC_FACTOR} × faster than torch RPC",
    )
    medians = {row.channel: row.spread.median for row in rows}
    if not {OURS, BARE, RPC} <= set(medians):
        return [Verdict(bar, State.OPEN, "") for bar in bars]
    of_bare, factor = medians[OURS] / medians[BARE], medians[RPC] / medians[OURS]
    return [
        Verdict(bars[0], _state(of_bare <= OF_BARE), f"{of_bare:.2f} ×"),
        Verdict(bars[1], _state(factor >= RPC_FACTOR), f"{factor:.2f} ×"),
    ]


def _executors(rows: Sequence[ExecutorRow]) -> Verdict:
    bar = f"onnxruntime ≥ {ONNX_FACTOR} × faster than our torch on at least {ONNX_MODELS} of the {len(MODELS)} models"
    if not rows:
        return Verdict(bar, State.OPEN, "")
    factors = {row.model: row.torch.median / row.onnxruntime.median for row in rows if row.model in MODELS}
    fast = [model for model, factor in factors.items() if factor >= ONNX_FACTOR]
    return Verdict(bar, _state(len(fast) >= ONNX_MODELS), f"{len(fast)} of {len(factors)}")


def _codecs(rows: Sequence[CodecRow]) -> list[Verdict]:
    bars = (
        f"int8 with packing on a trained network: bytes ≤ {OF_RAW:g} of float32",
        f"… right answers within {100 * POINTS_LOST:g} points",
        f"… encoding and decoding ≤ {OF_SAVED:.0%} of the transfer time saved at 20 Mbit/s",
    )
    if not rows:
        return [Verdict(bar, State.OPEN, "") for bar in bars]
    longest = max(row.of_raw for row in rows)
    lost = max(row.raw_accuracy - row.accuracy for row in rows)
    dearest = max(row.of_saved for row in rows)
    found = (f"at most {longest:.3f}", f"at most {100 * lost:.2f} points lost", f"at most {dearest:.1%}")
    met = (longest <= OF_RAW, lost <= POINTS_LOST, dearest <= OF_SAVED)
    return [Verdict(b, _state(m), f) for b, m, f in zip(bars, met, found, strict=True)]


def _adaptation(rows: Sequence[AdaptationRow]) -> list[Verdict]:
    bars = (
        f"after a step of the bandwidth the right plan runs within one interval + {REPLANNED_WITHIN_S:g} s",
        "… no frame is lost, answered twice or failed",
        "… and no frame takes longer than 2 × the new steady median and what was in flight",
    )
    if not rows:
        return [Verdict(bar, State.OPEN, "") for bar in bars]
    planned = [row.planned_s for row in rows]
    in_time = sum(
        s is not None and s <= row.interval_s + REPLANNED_WITHIN_S
        for s, row in zip(planned, rows, strict=True)
    )
    slowest = max((s for s in planned if s is not None), default=float("nan"))
    amiss = sum(row.lost + row.duplicated + row.failed for row in rows)
    worst = max(rows, key=lambda row: row.worst_ms / row.allowed_ms)
    found = (
        f"{in_time} of {len(rows)} steps; slowest {slowest:.1f} s at an interval of {rows[0].interval_s:g} s",
        f"{amiss} of {sum(row.frames for row in rows)} frames",
        f"worst {worst.worst_ms:.0f} ms, {worst.allowed_ms:.0f} ms allowed",
    )
    met = (in_time == len(rows), amiss == 0, worst.worst_ms <= worst.allowed_ms)
    return [Verdict(b, _state(m), f) for b, m, f in zip(bars, met, found, strict=True)]


def cuda_verdict(rows: Sequence[CudaRow]) -> Verdict:
    """Judge the bar for GPUs, which stands beside its own section."""
    bar = f"time in the daemon ≤ {CUDA_OF_BARE} × the bare forward pass, at {CUDA_BATCH} frames on CUDA"
    judged = [row for row in rows if row.batch == CUDA_BATCH and row.model in CUDA_MODELS]
    if not judged:
        return Verdict(bar, State.OPEN, "")
    worst = max(judged, key=lambda row: row.of_bare)
    whole = {row.model for row in judged} == set(CUDA_MODELS)
    return Verdict(
        bar, _state(worst.of_bare <= CUDA_OF_BARE, whole), f"worst {worst.of_bare:.2f} ({worst.model})"
    )
