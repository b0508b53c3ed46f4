"""Graphs and costs for tests: the known hard cases, and random ones with a brute-force answer."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from common.graph import ModelGraph
from common.partition.closed_sets import enumerate_closed_sets
from common.partition.decide import Conditions
from common.partition.frontier import Frontier

ONE_BYTE_PER_MS = 8000.0
"""bit/s"""


@dataclass(frozen=True)
class Problem:
    """A graph with unit times in ms."""

    graph: ModelGraph
    edge_ms: Mapping[str, float]
    cloud_ms: Mapping[str, float]

    @property
    def frontier(self) -> Frontier:
        return Frontier.build(enumerate_closed_sets(self.graph), self.edge_ms, self.cloud_ms)


def closure_problem() -> Problem:
    """Case 1 of planning.md §5: DADS's own graph answers 18 by leaving a set that is not closed."""
    graph = ModelGraph.from_links(
        {"s": 1000, "p": 5, "x": 5, "q": 1000, "d": 1},
        [("s", "p"), ("p", "x"), ("x", "d"), ("s", "q"), ("q", "d")],
    )
    edge = {"s": 0.0, "p": 1.0, "x": 100.0, "q": 1.0, "d": 1.0}
    return Problem(graph, edge, {name: ms / 10 for name, ms in edge.items()})


def off_hull_problem() -> Problem:
    """Case 2: a chain whose cuts have (Te, Tt, Tc) = (0, 10, 0), (6, 6, 0), (10, 0, 0)."""
    graph = ModelGraph.from_links({"s": 10, "m": 6, "d": 1}, [("s", "m"), ("m", "d")])
    return Problem(graph, {"s": 0.0, "m": 6.0, "d": 4.0}, {"s": 0.0, "m": 0.0, "d": 0.0})


def random_problem(rng: random.Random, most: int = 9) -> Problem:
    """Make a random DAG of 2 to `most` units with one source and one sink, of any density."""
    size = rng.randint(2, most)
    names = [f"u{i}" for i in range(size)]
    density = rng.choice([0.1, 0.3, 0.7])
    links = [(a, b) for a, b in itertools.combinations(names, 2) if rng.random() < density]
    for name in names[1:]:
        if not any(b == name for _, b in links):
            links.append((names[0], name))
    for name in names[:-1]:
        if not any(a == name for a, _ in links):
            links.append((name, names[-1]))
    sizes = {name: rng.choice([0, 1, 10, rng.randint(1, 500)]) for name in names}
    edge = {name: rng.choice([0.0, rng.uniform(0, 50)]) for name in names}
    cloud = {name: rng.choice([0.0, rng.uniform(0, 20)]) for name in names}
    return Problem(ModelGraph.from_links(sizes, links), edge, cloud)


def brute_force(problem: Problem, conditions: Conditions) -> Iterator[tuple[frozenset[str], float, float]]:
    """Yield every legal set with its latency and bottleneck in ms, computed from the definition."""
    graph = problem.graph
    others = [name for name in graph.names if name != graph.source]
    for count in range(len(others) + 1):
        for chosen in itertools.combinations(others, count):
            members = frozenset(chosen) | {graph.source}
            if any(w in members and u not in members for w in graph.names for u in graph[w].inputs):
                continue
            whole = len(members) == len(graph)
            edge = conditions.edge_scale * sum(problem.edge_ms[name] for name in members)
            cloud = conditions.cloud_scale * sum(
                problem.cloud_ms[name] for name in graph.names if name not in members
            )
            crossing = {u for w in graph.names if w not in members for u in graph[w].inputs if u in members}
            size = sum(graph[name].output_bytes for name in crossing)
            if whole:
                link = 0.0
            elif conditions.bandwidth_bps == 0:
                link = float("inf")
            else:
                link = size * 8000.0 / conditions.bandwidth_bps
            extra = 0.0 if whole else conditions.rtt_ms + conditions.answer_ms
            yield members, edge + link + cloud + extra, max(edge, link, cloud)
