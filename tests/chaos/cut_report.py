"""What the cuts came to, as text."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

from tests.chaos.census import Census
from tests.chaos.cut_edge import Outcome
from tests.chaos.cuts import HARMS, LONG_BAR_S, SHORT_BAR_S, SHORT_S
from tests.chaos.tiny_pair import Verdict


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that so large a share of them does not exceed."""
    return sorted(values)[max(math.ceil(share * len(values)) - 1, 0)]


def _times(seconds: Sequence[float]) -> str:
    if not seconds:
        return f"{'–':>6} {'–':>6} {'–':>6}"
    return f"{statistics.median(seconds):6.2f} {quantile(seconds, 0.99):6.2f} {max(seconds):6.2f}"


def _row(name: str, outcomes: Iterable[Outcome]) -> str:
    told = [*outcomes]
    halves = []
    for short in (True, False):
        half = [outcome for outcome in told if outcome.cut.is_short is short]
        seconds = [outcome.recovered_s for outcome in half if outcome.recovered_s is not None]
        halves.append(f"{len(half):5} {_times(seconds)}")
    return f"{name:20} | {' | '.join(halves)}"


def report(
    outcomes: Sequence[Outcome],
    verdicts: Sequence[Verdict],
    before: Mapping[str, Census],
    after: Mapping[str, Census],
    seconds: float,
) -> str:
    """Tell of all cuts: recovery by kind, records, what each daemon holds."""
    fixed = [outcome for outcome in outcomes if outcome.gap_s is None]
    free = [outcome.gap_s for outcome in outcomes if outcome.gap_s is not None]
    never = sum(outcome.recovered_s is None for outcome in fixed)
    late = sum(not outcome.good for outcome in fixed) - never
    lines = [
        f"{len(outcomes)} cuts in {seconds:.0f} s; seconds from the end of the outage to the first answer by the "
        "cloud to a frame begun after it: median, 99th percentile, worst",
        f"{'':20} | outage < {SHORT_S:g} s (bar {SHORT_BAR_S:g} s) | {SHORT_S:g} s and more (bar {LONG_BAR_S:g} s)",
        *(_row(harm, [one for one in fixed if one.cut.harm == harm]) for harm in HARMS),
        *(
            _row(f"  new ones {fate}", [one for one in fixed if one.cut.newcomers == fate])
            for fate in ("welcome", "hang", "refused")
        ),
        _row("all", fixed),
        f"not recovered from: {never}; later than the bar: {late}",
    ]
    if free:
        lines.append(
            f"edges that choose their cut, {len(free)} cuts: longest time without an answer, s: {_times(free)}"
        )
    lines.append(
        f"records: {sum(v.records for v in verdicts)}, lost {sum(v.lost for v in verdicts)}, "
        f"doubled {sum(v.doubled for v in verdicts)}, wrong {sum(v.wrong for v in verdicts)}, "
        f"garbage {sum(v.garbage for v in verdicts)}"
    )
    lines += [f"{name:10} before: {before[name]}; after: {after[name]}" for name in after]
    return "\n".join(lines)
