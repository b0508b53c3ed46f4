"""The verdict on each bar, from what was measured. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from benchmarks.bench_bars import (
    ADAPTATION_MODELS,
    AGAINST_ENDS,
    OF_BOTTLENECK,
    OF_IPERF,
    POINTS,
    PREDICTION,
    PREDICTION_SHARE,
    REGRET,
    REGRET_SHARE,
    REGRET_WORST,
    REPLANNED_WITHIN_S,
    STAGES,
    THROUGHPUT_MODELS,
    WALK_BPS,
    State,
    Verdict,
    state_of,
)
from benchmarks.bench_part_rows import CodecRow, ExecutorRow, ManyRow, OverheadRow
from benchmarks.bench_part_verdicts import codec_verdicts, executor_verdicts, many_verdicts, overhead_verdicts
from benchmarks.bench_rows import (
    CLOUD_ONLY,
    EDGE_ONLY,
    MODELS,
    RATES_BPS,
    AdaptationRow,
    RegretRow,
    ThroughputRow,
    fallen,
    ratio,
)


def verdicts(
    regret: Sequence[RegretRow],
    throughput: Sequence[ThroughputRow],
    overhead: Sequence[OverheadRow],
    adaptation: Sequence[AdaptationRow],
    codecs: Sequence[CodecRow] = (),
    executors: Sequence[ExecutorRow] = (),
    many: Sequence[ManyRow] = (),
) -> Mapping[str, Sequence[Verdict]]:
    """Judge all bars; return the verdicts by section."""
    points = of_the_bars(regret)
    return {
        "regret": [*_regret(points), _prediction(points)],
        "throughput": _throughput(throughput),
        "overhead": overhead_verdicts(overhead),
        "executors": executor_verdicts(executors),
        "codecs": codec_verdicts(codecs),
        "adaptation": _adaptation(adaptation),
        "many": many_verdicts(many),
    }


def of_the_bars(rows: Sequence[RegretRow]) -> list[RegretRow]:
    """Return the points that the bars are about: others may have been measured, too."""
    return [row for row in rows if row.model in MODELS and row.rate_bps in RATES_BPS]


def covers_all_points(rows: Sequence[RegretRow]) -> bool:
    """Say whether every model of the bars was measured on every link of theirs."""
    wanted = {(model, rate) for model in MODELS for rate in RATES_BPS}
    return wanted <= {(row.model, row.rate_bps) for row in rows}


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
    return [Verdict(b, state_of(m, whole), f) for b, m, f in zip(bars, met, found, strict=True)]


def prediction_errors(rows: Sequence[RegretRow]) -> list[float]:
    """Return all predictions' errors. The two ends have none: they are what tells the devices' speed."""
    predicted = (cut for row in rows for cut in row.cuts if cut.label not in (EDGE_ONLY, CLOUD_ONLY))
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
    return Verdict(bar, state_of(within >= PREDICTION_SHARE, covers_all_points(rows)), found)


def _throughput(rows: Sequence[ThroughputRow]) -> list[Verdict]:
    return [
        _saturated(
            f"saturated ≥ {OF_BOTTLENECK} of what the slowest stage allows",
            rows,
            STAGES,
            lambda row: row.of_bottleneck,
            OF_BOTTLENECK,
            ".3f",
        ),
        _saturated(
            f"cuts bound by the link move ≥ {OF_IPERF:.0%} of what iperf3 measures",
            [row for row in rows if row.bound_by == "link"],
            ("link",),
            lambda row: row.of_iperf,
            OF_IPERF,
            ".1%",
        ),
    ]


def _saturated(
    bar: str,
    rows: Sequence[ThroughputRow],
    stages: Sequence[str],
    share: Callable[[ThroughputRow], float],
    least: float,
    form: str,
) -> Verdict:
    """Judge a share that all cuts must reach. Where iperf3 read too little nothing was measured."""
    read = [row for row in rows if not row.misread]
    notes = [
        f"; no measurement: {_name(row)}, {row.cut} ({row.of_iperf:.1%} of iperf3)"
        for row in rows
        if row.misread
    ]
    note = "".join([*notes, fallen(sum(row.fallbacks for row in rows))])
    if not read:
        return Verdict(bar, State.OPEN, note.lstrip(";, "))
    wanted = {(model, stage) for model in THROUGHPUT_MODELS for stage in stages}
    whole = len(read) == len(rows) and wanted <= {(row.model, row.bound_by) for row in read}
    enough = sum(share(row) >= least and not row.fallbacks for row in read)
    worst = min(read, key=share)
    found = f"{enough} of {len(read)} cuts; least {share(worst):{form}} ({_name(worst)}, {worst.cut})"
    return Verdict(bar, state_of(enough == len(read), whole), found + note)


def _adaptation(rows: Sequence[AdaptationRow]) -> list[Verdict]:
    bars = (
        f"after a step of the bandwidth the right plan runs within one interval + {REPLANNED_WITHIN_S:g} s",
        "… no frame is lost, answered twice or failed",
        "… and no frame takes longer than 2 × the new steady median and what was in flight",
    )
    if not rows:
        return [Verdict(bar, State.OPEN, "") for bar in bars]
    steps = range(1, 1 + len(list(pairwise(WALK_BPS))))
    wanted = {(model, step) for model in ADAPTATION_MODELS for step in steps}
    whole = wanted <= {(row.model, row.step) for row in rows}
    planned = [row.planned_s for row in rows]
    in_time = sum(
        s is not None and s <= row.interval_s + REPLANNED_WITHIN_S
        for s, row in zip(planned, rows, strict=True)
    )
    slowest = max((s for s in planned if s is not None), default=float("nan"))
    amiss = sum(row.lost + row.duplicated + row.failed for row in rows)
    worst = max(rows, key=lambda row: ratio(row.worst_ms, row.allowed_ms))
    found = (
        f"{in_time} of {len(rows)} steps; slowest {slowest:.1f} s at an interval of {rows[0].interval_s:g} s",
        f"{amiss} of {sum(row.frames for row in rows)} frames",
        f"worst {worst.worst_ms:.0f} ms, {worst.allowed_ms:.0f} ms allowed",
    )
    met = (in_time == len(rows), amiss == 0, worst.worst_ms <= worst.allowed_ms)
    return [Verdict(b, state_of(m, whole), f) for b, m, f in zip(bars, met, found, strict=True)]
