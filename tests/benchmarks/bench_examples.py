"""Rows and candidates made up for tests of the benchmark's pure parts."""

from __future__ import annotations

from benchmarks.bench_candidates import Candidate
from benchmarks.bench_machine import Machine
from benchmarks.bench_part_rows import ManyRow
from benchmarks.bench_rows import (
    CLOUD_ONLY,
    EDGE_ONLY,
    AdaptationRow,
    CutTimes,
    RegretRow,
    Series,
    ThroughputRow,
)

MACHINE = Machine("a CPU", 2, 8.0, "Linux 6", "3.11", ("torch 2",))

CANDIDATES = [
    Candidate(CLOUD_ONLY, edge_ms=0.0, payload_bytes=200_000.0, cloud_ms=40.0),
    Candidate("after early", edge_ms=100.0, payload_bytes=80_000.0, cloud_ms=28.0),
    Candidate("after late", edge_ms=240.0, payload_bytes=4_000.0, cloud_ms=10.0),
    Candidate(EDGE_ONLY, edge_ms=320.0, payload_bytes=0.0, cloud_ms=0.0),
]


def series(*visits: float) -> Series:
    """A frame in each visit."""
    return Series(tuple((ms,) for ms in visits))


def regret_row(
    adaptive: float = 100.0,
    edge_only: float = 300.0,
    cloud_only: float = 100.0,
    middle: float = 200.0,
    *,
    model: str = "resnet18",
    rate_bps: float = 8e6,
    predicted: float = 1.0,
) -> RegretRow:
    """A point whose contenders take as long as said in each of two rounds; predictions are off by a factor."""
    times = {EDGE_ONLY: edge_only, CLOUD_ONLY: cloud_only, "after conv": middle}
    return RegretRow(
        model=model,
        rate_bps=rate_bps,
        carried_bps=0.957 * rate_bps,
        estimated_bps=0.95 * rate_bps,
        settled_s=6.0,
        period_ms=150.0,
        adaptive=series(adaptive, adaptive),
        adaptive_cuts=(CLOUD_ONLY,),
        cuts=tuple(CutTimes(label, series(ms, ms), (predicted * ms,) * 2) for label, ms in times.items()),
        frontier_cuts=40,
        plain=series(500.0),
        http=series(120.0),
    )


def throughput_row(
    fps: float = 9.5,
    bound_by: str = "link",
    bytes_per_s: float = 0.96e6,
    *,
    model: str = "resnet18",
    fallbacks: int = 0,
) -> ThroughputRow:
    """A cut whose link takes 100 ms a frame and carries 8 Mbit/s."""
    return ThroughputRow(
        model=model,
        rate_bps=8e6,
        cut=CLOUD_ONLY,
        bound_by=bound_by,
        fps=(fps,) * 3,
        head_ms=(0.1,) * 3,
        link_ms=(100.0,) * 3,
        tail_ms=(40.0,) * 3,
        bytes_per_s=(bytes_per_s,) * 3,
        carried_bps=(8e6,) * 3,
        fallbacks=fallbacks,
    )


def adaptation_row(
    planned_s: float | None = 4.0,
    worst_ms: float = 500.0,
    lost: int = 0,
    *,
    model: str = "resnet18",
    step: int = 1,
) -> AdaptationRow:
    """A step down to frames of 300 ms."""
    return AdaptationRow(
        model=model,
        step=step,
        from_bps=5e7,
        to_bps=4e6,
        interval_s=5.0,
        cut_before=CLOUD_ONLY,
        cut_after=EDGE_ONLY,
        of_best=1.0,
        planned_s=planned_s,
        frames=50,
        lost=lost,
        duplicated=0,
        failed=0,
        in_flight_ms=400.0,
        worst_ms=worst_ms,
        steady_before_ms=80.0,
        steady_ms=300.0,
    )


def many_row(
    fps: float = 95.0,
    slowest: float = 0.9,
    *,
    alone_fps: float = 100.0,
    model: str = "resnet18",
    cut: str = "after add_3",
    busy: int = 0,
    failed: int = 0,
) -> ManyRow:
    """Sixteen edges, in three rounds alike."""
    return ManyRow(
        model=model,
        cut=cut,
        executor="onnxruntime",
        edges=16,
        payload_bytes=401_408,
        batches=(4, 8),
        fps=(fps,) * 3,
        alone_fps=(alone_fps,) * 3,
        slowest=(slowest,) * 3,
        busy=busy,
        failed=failed,
    )
