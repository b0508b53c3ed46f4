"""Verdicts on what is measured of one part alone: the channel, executors, codecs, tails on a GPU, the cloud. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.bench_bars import (
    BARE,
    CODEC_CUTS,
    CUDA_BATCH,
    CUDA_MODELS,
    CUDA_OF_BARE,
    MANY_CUTS,
    MANY_EDGES,
    OF_ALONE,
    OF_BARE,
    OF_MEAN,
    OF_RAW,
    OF_SAVED,
    ONNX_FACTOR,
    ONNX_MODELS,
    OURS,
    POINTS_LOST,
    RPC,
    RPC_FACTOR,
    State,
    Verdict,
    state_of,
)
from benchmarks.bench_part_rows import CodecRow, CudaRow, ExecutorRow, ManyRow, OverheadRow
from benchmarks.bench_rows import MODELS, ratio


def overhead_verdicts(rows: Sequence[OverheadRow]) -> list[Verdict]:
    bars = (
        f"a crossing tensor's round trip ≤ {OF_BARE} × that of bare blocking sockets",
        f"… and at least {RPC_FACTOR} × faster than torch RPC",
    )
    medians = {row.channel: row.spread.median for row in rows}
    if not {OURS, BARE, RPC} <= set(medians):
        return [Verdict(bar, State.OPEN, "") for bar in bars]
    of_bare = ratio(medians[OURS], medians[BARE])
    factor = ratio(medians[RPC], medians[OURS], without=0.0)
    return [
        Verdict(bars[0], state_of(of_bare <= OF_BARE), f"{of_bare:.2f} ×"),
        Verdict(bars[1], state_of(factor >= RPC_FACTOR), f"{factor:.2f} ×"),
    ]


def executor_verdicts(rows: Sequence[ExecutorRow]) -> list[Verdict]:
    bar = f"onnxruntime ≥ {ONNX_FACTOR} × faster than our torch on at least {ONNX_MODELS} of the {len(MODELS)} models"
    factors = {
        row.model: ratio(row.torch.median, row.onnxruntime.median, without=0.0)
        for row in rows
        if row.model in MODELS
    }
    if not factors:
        return [Verdict(bar, State.OPEN, "")]
    fast = sum(factor >= ONNX_FACTOR for factor in factors.values())
    # Missed once so many are slow that the others cannot make up for it, measured or not.
    met = len(factors) - fast <= len(MODELS) - ONNX_MODELS
    return [Verdict(bar, state_of(met, set(factors) == set(MODELS)), f"{fast} of {len(factors)}")]


def codec_verdicts(rows: Sequence[CodecRow]) -> list[Verdict]:
    bars = (
        f"int8 with packing on a trained network: bytes ≤ {OF_RAW:g} of float32",
        f"… right answers within {100 * POINTS_LOST:g} points",
        f"… encoding and decoding ≤ {OF_SAVED:.0%} of the transfer time saved at 20 Mbit/s",
    )
    if not rows:
        return [Verdict(bar, State.OPEN, "") for bar in bars]
    whole = set(CODEC_CUTS) <= {row.cut for row in rows}
    longest = max(row.of_raw for row in rows)
    lost = max(row.raw_accuracy - row.accuracy for row in rows)
    dearest = max(row.of_saved for row in rows)
    found = (f"at most {longest:.3f}", f"at most {100 * lost:.2f} points lost", f"at most {dearest:.1%}")
    met = (longest <= OF_RAW, lost <= POINTS_LOST, dearest <= OF_SAVED)
    return [Verdict(b, state_of(m, whole), f) for b, m, f in zip(bars, met, found, strict=True)]


def many_verdicts(rows: Sequence[ManyRow]) -> list[Verdict]:
    bars = (
        f"{MANY_EDGES} edges on one cloud: frames/s ≥ {OF_ALONE:g} of what its executor reaches alone",
        f"… and the slowest edge ≥ {OF_MEAN:g} of the mean",
    )
    judged = [row for row in rows if (row.model, row.cut) in MANY_CUTS and row.edges == MANY_EDGES]
    if not judged:
        return [Verdict(bar, State.OPEN, "") for bar in bars]
    whole = {(row.model, row.cut) for row in judged} == set(MANY_CUTS)
    slowest, unfair = min(judged, key=lambda row: row.of_alone), min(judged, key=lambda row: row.of_mean)
    amiss = {"failed": sum(row.failed for row in judged), "were told Busy": sum(row.busy for row in judged)}
    note = "".join(f"; {count} frames {what}" for what, count in amiss.items() if count)
    found = (
        f"least {slowest.of_alone:.2f} ({slowest.model}, {slowest.cut}){note}",
        f"least {unfair.of_mean:.2f} ({unfair.model}, {unfair.cut})",
    )
    met = (slowest.of_alone >= OF_ALONE, unfair.of_mean >= OF_MEAN)
    return [Verdict(b, state_of(m, whole), f) for b, m, f in zip(bars, met, found, strict=True)]


def cuda_verdict(rows: Sequence[CudaRow]) -> Verdict:
    """Judge the bar for GPUs, which stands beside its own section."""
    bar = f"time in the daemon ≤ {CUDA_OF_BARE} × the bare forward pass, at {CUDA_BATCH} frames on CUDA"
    judged = [row for row in rows if row.batch == CUDA_BATCH and row.model in CUDA_MODELS]
    if not judged:
        return Verdict(bar, State.OPEN, "")
    worst = max(judged, key=lambda row: row.of_bare)
    whole = {row.model for row in judged} == set(CUDA_MODELS)
    return Verdict(
        bar, state_of(worst.of_bare <= CUDA_OF_BARE, whole), f"worst {worst.of_bare:.2f} ({worst.model})"
    )
