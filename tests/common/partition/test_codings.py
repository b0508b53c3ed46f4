"""Facts about codecs as part of a cut: what they cost, and which combinations are worth a look."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from common.graph import ModelGraph
from common.partition.closed_sets import enumerate_closed_sets
from common.partition.codings import LOSSLESS, MOST_ASSIGNMENTS, Codings, Option, assign
from common.partition.decide import Conditions, Costs, choose
from common.partition.frontier import Frontier, non_dominated
from common.plan import Cut
from common.wire.codecs import Loss
from tests.graphs import Problem, random_problem

ALL = frozenset(Loss)
CODECS = ("zstd", "f16", "int8-zstd")


def coded_problem(rng: random.Random) -> tuple[Problem, Codings]:
    """Make a small problem where units have codecs of random cost, better ones and worse ones."""
    problem = random_problem(rng, most=6)
    options = {
        unit.name: (
            Option("raw", 0.0, unit.output_bytes, 0.0),
            *(
                Option(codec, rng.uniform(0, 20), rng.random() * unit.output_bytes, rng.uniform(0, 20))
                for codec in rng.sample(CODECS, rng.randint(0, 3))
            ),
        )
        for unit in problem.graph.units
    }
    return problem, Codings(options)


@pytest.mark.parametrize("seed", range(150))
def test_the_best_cut_with_codecs_is_found_as_by_trying_all(seed: int) -> None:
    """No closed set with any codec for each crossing tensor is better than what is chosen from the frontier."""
    rng = random.Random(seed)
    problem, codings = coded_problem(rng)
    graph, edge_ms, cloud_ms = problem.graph, problem.edge_ms, problem.cloud_ms
    bytes_per_ms, rate_fps = 10 ** rng.uniform(-1, 3), rng.choice([None, 0.5, 10.0, 20.0])
    sets = enumerate_closed_sets(graph)
    frontier = Frontier.build(sets, edge_ms, cloud_ms, codings, ALL)
    conditions = Conditions(bandwidth_bps=bytes_per_ms * 8000, rate_fps=rate_fps, rtt_ms=1.0)
    choice = choose(frontier, conditions)
    every = []
    for row in range(len(sets)):
        cut = sets.cut(row)
        for combination in itertools.product(*(codings.options[unit] for unit in cut.crossing)):
            chosen = {unit: option.codec for unit, option in zip(cut.crossing, combination, strict=True)}
            coded = Cut.of(graph, cut.edge_units, chosen)
            every.append(Costs.of(graph, coded, edge_ms, cloud_ms, codings).predict(coded, conditions))
    keeps = [one for one in every if rate_fps and one.bottleneck_ms <= 1000 / rate_fps]
    best = min(one.latency_ms for one in keeps) if keeps else min(one.bottleneck_ms for one in every)
    found = choice.prediction.latency_ms if keeps else choice.prediction.bottleneck_ms
    assert found <= best * (1 + 1e-9) + 1e-9
    found_cut = frontier.cut(choice.entry)
    again = Costs.of(graph, found_cut, edge_ms, cloud_ms, codings).predict(found_cut, conditions)
    assert np.isclose(again.latency_ms, choice.prediction.latency_ms)
    assert frontier.find(found_cut) is not None


def test_only_allowed_losses_are_planned_with() -> None:
    """Without lossy codecs the frontier has raw and lossless entries only."""
    graph = ModelGraph.from_links({"frame": 1000, "a": 800, "b": 1}, [("frame", "a"), ("a", "b")])
    options: dict[str, tuple[Option, ...]] = {
        name: (Option("raw", 0, graph[name].output_bytes, 0),) for name in graph.names
    }
    options["a"] += (Option("zstd", 1, 500, 1), Option("int8", 1, 250, 1))
    times = dict.fromkeys(graph.names, 10.0)
    lossless, lossy = (
        Frontier.build(enumerate_closed_sets(graph), times, times, Codings(options), losses)
        for losses in (LOSSLESS, ALL)
    )
    assert {codec for codecs in lossless.codecs for codec in codecs} == {"raw", "zstd"}
    assert {codec for codecs in lossy.codecs for codec in codecs} == {"raw", "int8"}, "int8 beats zstd here"


def test_an_option_that_another_one_beats_is_dropped_but_raw_stays() -> None:
    """Slower and longer than another codec is never worth it; raw needs no codec at all."""
    raw, good = Option("raw", 0, 100, 0), Option("zstd", 1, 50, 1)
    worse, faster = Option("f16", 2, 60, 1), Option("int8", 0.5, 80, 1)
    codings = Codings({"a": (raw, worse, good, faster)})
    assert {option.codec for option in codings.worthwhile("a", ALL)} == {"raw", "zstd", "int8"}
    assert {option.codec for option in codings.worthwhile("a", LOSSLESS)} == {"raw", "zstd"}


def test_many_tensors_with_many_options_stay_few_assignments() -> None:
    """Ten crossing tensors with five options each are thinned; the shortest and the cheapest are kept."""
    options = tuple(
        Option(codec, i, 100.0 / (i + 1), i)
        for i, codec in enumerate(("raw", "zstd", "f16", "int8", "int8-zstd"))
    )
    found = assign([options] * 10, non_dominated)
    assert len(found.codecs) <= MOST_ASSIGNMENTS
    assert ("raw",) * 10 in found.codecs
    assert ("int8-zstd",) * 10 in found.codecs
