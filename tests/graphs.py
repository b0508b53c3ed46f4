"""Graphs and costs for tests: the known hard cases, and random ones with a brute-force answer."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping

from common.graph import ModelGraph
from common.partition.decide import Conditions
from common.partition.problem import PlanningProblem

ONE_BYTE_PER_MS = 8000.0
"""bit/s"""


Problem = PlanningProblem


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


def whole_number_problem(rng: random.Random, most: int = 9) -> Problem:
    """Make a random problem in small whole numbers: many ties, and sums without rounding."""
    graph = random_problem(rng, most).graph
    sizes = {name: rng.randint(0, 6) for name in graph.names}
    edge = {name: float(rng.randint(0, 5)) for name in graph.names}
    cloud = {name: float(rng.randint(0, 3)) for name in graph.names}
    return Problem(graph.with_output_bytes(sizes), edge, cloud)


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
            # In the graph's order, not the set's: sums then do not depend on the hash seed.
            edge = conditions.edge_scale * sum(
                problem.edge_ms[name] for name in graph.names if name in members
            )
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
            cloud += 0.0 if whole else conditions.cloud_wait_ms
            extra = 0.0 if whole else conditions.rtt_ms + conditions.answer_ms
            yield members, edge + link + cloud + extra, max(edge, link, cloud)


# --- shapes of real networks ----------------------------------------------------------------------------
def costs_of_shape(rng: random.Random, sizes: Mapping[str, int], links: list[tuple[str, str]]) -> Problem:
    """Give a shape times: the cloud is faster by a factor that differs from unit to unit."""
    graph = ModelGraph.from_links(sizes, links)
    edge = {name: rng.uniform(0.1, 5.0) for name in graph.names} | {graph.source: 0.0}
    cloud = {name: ms / rng.uniform(2.0, 20.0) for name, ms in edge.items()}
    return Problem(graph, edge, cloud)


def chain_problem(rng: random.Random, size: int) -> Problem:
    """Make a chain whose tensors shrink on the way, with noise."""
    sizes = {f"u{i}": int(200_000 * rng.uniform(0.5, 2.0) / (i + 1)) for i in range(size)}
    return costs_of_shape(rng, sizes, list(itertools.pairwise(sizes)))


def inception_problem(rng: random.Random, blocks: int) -> Problem:
    """Make blocks of four branches of 1 to 4 units between articulation vertices, 8 to 16 units in all each."""
    sizes = {"in": 180_000}
    links: list[tuple[str, str]] = []
    joint = "in"
    for block in range(blocks):
        ends = []
        scale = 800_000 / (1 + block)
        for branch in range(4):
            before = joint
            for depth in range(rng.choice([1, 2, 3, 4])):
                name = f"b{block}.{branch}.{depth}"
                sizes[name] = int(scale * rng.uniform(0.1, 0.4))
                links.append((before, name))
                before = name
            ends.append(before)
        joint = f"b{block}.cat"
        sizes[joint] = sum(sizes[end] for end in ends)
        links += [(end, joint) for end in ends]
    return costs_of_shape(rng, sizes, links)


def densenet_problem(rng: random.Random, layers_of_blocks: tuple[int, ...]) -> Problem:
    """Make dense blocks: each layer (two units) reads all earlier layers of its block; transitions between."""
    sizes = {"in": 180_000}
    links: list[tuple[str, str]] = []
    joint = "in"
    for block, layers in enumerate(layers_of_blocks):
        scale = 800_000 / 4**block
        read = [joint]
        for layer in range(layers):
            first, second = f"b{block}.{layer}.a", f"b{block}.{layer}.b"
            sizes |= {first: int(scale * rng.uniform(0.5, 1.0)), second: int(scale * rng.uniform(0.1, 0.3))}
            links += [*((name, first) for name in read), (first, second)]
            read.append(second)
        joint = f"b{block}.out"
        sizes[joint] = int(scale / 2)
        links += [(name, joint) for name in read]
    return costs_of_shape(rng, sizes, links)


def wide_problem(rng: random.Random, size: int, reach: int = 60) -> Problem:
    """Make a random DAG whose units read one to three of the `reach` before them: too many cuts to list."""
    names = [f"u{i}" for i in range(size)]
    links = set()
    for i in range(1, size):
        for _ in range(rng.choice([1, 1, 2, 3])):
            links.add((names[rng.randint(max(0, i - reach), i - 1)], names[i]))
    read = {u for u, _ in links}
    links |= {(name, names[-1]) for name in names[:-1] if name not in read}
    sizes = {name: rng.randint(1_000, 400_000) for name in names}
    return costs_of_shape(rng, sizes, sorted(links))
