"""DADS's heuristic for heavy load (DSH) as a baseline: how far from the least bottleneck is it?

    python -m benchmarks.dads_heavy_baseline --problems 40

The baseline is the paper's algorithm 2: minimise α·Te + Tt + γ·Tc as a minimum cut for a grid of weights
(α, γ), keep the cut of least max(Te, Tt, Tc), halve the grid's step around it, and go on while that helps.
Every cut found so lies on the convex hull of (Te, Tt, Tc); the least bottleneck need not.

Source: DADS (Hu, Bao, Wang, Liu, INFOCOM 2019), section IV-C. Two changes, both in the baseline's favour: its
minimum cuts are ours, which are legal (the paper's put units back on the edge after the cloud); and its upper
ends of the weights, ΣTe/min Tt and ΣTc/min Tt, are clamped, without which nearly all of a grid of this size
lies where the weights outweigh all else.
"""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from common.graph import ModelGraph
from common.partition.decide import Conditions
from common.partition.mincut import least_latency
from common.partition.problem import Assessment, PlanningProblem
from common.partition.solve import solve

_GRID = 8
"""Steps of either weight in each round."""
_ROUNDS = 5
_LEAST_WEIGHT, _MOST_WEIGHT = 0.01, 20.0
_BANDWIDTHS_BPS = (1e6, 4e6, 16e6)


def dads_heavy(problem: PlanningProblem, bandwidth_bps: float) -> Assessment:
    """Return the cut of the paper's DSH: the best of its grids of weighted minimum cuts."""
    real = Conditions(bandwidth_bps=bandwidth_bps)
    terms = problem.terms(real)
    sent_ms = terms.link_ms[terms.link_ms > 0]
    least_ms = float(sent_ms.min()) if len(sent_ms) else 1.0
    most_alpha = _clamped(float(terms.edge_ms.sum()) / least_ms)
    most_gamma = _clamped(float(terms.cloud_ms.sum()) / least_ms)
    alphas, gammas = (_LEAST_WEIGHT, most_alpha), (_LEAST_WEIGHT, most_gamma)
    steps = [(most_alpha - _LEAST_WEIGHT) / _GRID, (most_gamma - _LEAST_WEIGHT) / _GRID]
    best: Assessment | None = None
    for _ in range(_ROUNDS):
        before_ms = best.prediction.bottleneck_ms if best else float("inf")
        at = (1.0, 1.0)
        for alpha, gamma in itertools.product(
            np.linspace(*alphas, _GRID + 1), np.linspace(*gammas, _GRID + 1)
        ):
            weighted = Conditions(
                bandwidth_bps=bandwidth_bps, edge_scale=float(alpha), cloud_scale=float(gamma)
            )
            cut = problem.assess(least_latency(problem, weighted).best.edge_units, real)
            if best is None or cut.prediction.bottleneck_ms < best.prediction.bottleneck_ms:
                best, at = cut, (float(alpha), float(gamma))
        assert best is not None
        if best.prediction.bottleneck_ms >= before_ms:
            break
        alphas, gammas = (
            (max(_LEAST_WEIGHT, weight - step), weight + step) for weight, step in zip(at, steps, strict=True)
        )
        steps = [step / 2 for step in steps]
    assert best is not None
    return best


def _clamped(weight: float) -> float:
    return min(max(weight, 2 * _LEAST_WEIGHT), _MOST_WEIGHT)


# --- random networks --------------------------------------------------------------------------------------
def _costed(rng: random.Random, links: list[tuple[str, str]]) -> PlanningProblem:
    """Give a DAG sizes that shrink on the way, with noise, and a cloud faster by a varying factor."""
    names = list(dict.fromkeys(name for link in links for name in link))
    sizes = {name: int(400_000 * rng.uniform(0.1, 1.0) / (1 + i / 4)) for i, name in enumerate(names)}
    graph = ModelGraph.from_links(sizes, links)
    edge_ms = {name: rng.uniform(0.5, 20.0) for name in names} | {graph.source: 0.0}
    cloud_ms = {name: ms / rng.uniform(1.0, 12.0) for name, ms in edge_ms.items()}
    return PlanningProblem(graph, edge_ms, cloud_ms)


def chain(rng: random.Random) -> PlanningProblem:
    """Make a chain of 8 to 24 units."""
    names = [f"u{i}" for i in range(rng.randint(8, 24))]
    return _costed(rng, list(itertools.pairwise(names)))


def diamonds(rng: random.Random) -> PlanningProblem:
    """Make 3 to 6 blocks of 2 to 4 branches in a row."""
    links: list[tuple[str, str]] = []
    joint = "in"
    for block in range(rng.randint(3, 6)):
        branches = [f"b{block}.{i}" for i in range(rng.randint(2, 4))]
        links += [(joint, name) for name in branches]
        joint = f"b{block}.cat"
        links += [(name, joint) for name in branches]
    return _costed(rng, links)


def scattered(rng: random.Random) -> PlanningProblem:
    """Make a random DAG of 10 to 20 units in which each reads one or two of the five before it."""
    names = [f"u{i}" for i in range(rng.randint(10, 20))]
    links = {
        (rng.choice(names[max(0, i - 5) : i]), names[i])
        for i in range(1, len(names))
        for _ in range(rng.choice([1, 2]))
    }
    read = {u for u, _ in links}
    links |= {(name, names[-1]) for name in names[:-1] if name not in read}
    return _costed(rng, sorted(links, key=lambda link: (names.index(link[1]), names.index(link[0]))))


FAMILIES: Mapping[str, Callable[[random.Random], PlanningProblem]] = {
    "chain": chain,
    "diamonds": diamonds,
    "scattered": scattered,
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """One problem at one bandwidth: both bottlenecks, and what each took."""

    dads_ms: float
    exact_ms: float
    dads_took_s: float
    exact_took_s: float

    @property
    def gap(self) -> float:
        """By what share the baseline's bottleneck is above the least; so many frames per second are lost."""
        return self.dads_ms / self.exact_ms - 1.0 if self.exact_ms else 0.0


def compare(problem: PlanningProblem, bandwidth_bps: float) -> Comparison:
    """Run both planners on one problem. Raises AssertionError if the baseline beats the proven optimum."""
    problem = replace(problem)  # without the frontier of an earlier run: building it is part of our time
    started = time.perf_counter()
    baseline = dads_heavy(problem, bandwidth_bps)
    middle = time.perf_counter()
    exact = solve(problem, Conditions(bandwidth_bps=bandwidth_bps))
    ended = time.perf_counter()
    assert exact.optimal
    assert baseline.prediction.bottleneck_ms >= exact.value_ms - 1e-6
    return Comparison(baseline.prediction.bottleneck_ms, exact.value_ms, middle - started, ended - middle)


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare DADS's DSH with the least bottleneck.")
    parser.add_argument("--problems", type=int, default=20, help="of each family (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    print(
        f"{'family':10} {'cases':>5} {'optimal':>8} {'mean gap':>9} {'p90 gap':>8} {'worst':>7} "
        f"{'DSH':>9} {'ours':>8}"
    )
    for family, make in FAMILIES.items():
        rng = random.Random(chosen.seed)
        problems = [make(rng) for _ in range(chosen.problems)]
        results = [compare(problem, bps) for problem in problems for bps in _BANDWIDTHS_BPS]
        gaps = sorted(result.gap for result in results)
        print(
            f"{family:10} {len(gaps):5} {sum(gap < 1e-6 for gap in gaps) / len(gaps):8.0%} "
            f"{statistics.mean(gaps):9.1%} {gaps[int(0.9 * (len(gaps) - 1))]:8.1%} {gaps[-1]:7.1%} "
            f"{statistics.median(r.dads_took_s for r in results) * 1e3:6.0f} ms "
            f"{statistics.median(r.exact_took_s for r in results) * 1e3:5.1f} ms"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
