"""Which cuts are worth being measured as whole segments: those that may be best at some bandwidth."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from common.partition.decide import Conditions
from common.partition.frontier import Frontier
from common.plan import Cut

SLACK = 0.15
"""A cut within this share of the best, by unit times, may turn out to be the best."""
MOST = 12
"""Cuts measured at most: each is compiled on both sides, and takes a few inferences of their time."""
BANDWIDTHS_BPS = tuple(float(bps) for bps in np.geomspace(0.3e6, 1e9, 36))


def candidates(frontier: Frontier, conditions: Conditions) -> tuple[Cut, ...]:
    """Return the cuts to measure, raw, the likeliest to be chosen first.

    At each of many bandwidths those that come within `SLACK` of the best count, the nearest most; codecs add to a
    segment's time and do not change it.
    """
    merit: Counter[tuple[str, ...]] = Counter()
    cuts: dict[tuple[str, ...], Cut] = {}
    for bandwidth_bps in BANDWIDTHS_BPS:
        here = replace(conditions, bandwidth_bps=bandwidth_bps)
        times = here.times(frontier.edge_ms, frontier.payload_bytes, frontier.cloud_ms, frontier.edge_only)
        value = times.latency_ms if conditions.rate_fps is not None else times.bottleneck_ms
        behind = value / value.min() - 1.0
        for entry in np.flatnonzero(behind <= SLACK):
            cut = frontier.cut(int(entry))
            cuts.setdefault(cut.edge_units, replace(cut, codecs=()))
            merit[cut.edge_units] += int(100 * (1.0 - behind[entry] / (2 * SLACK)))
    return tuple(cuts[units] for units, _ in merit.most_common(MOST))
