import random

import numpy as np
import pytest

from common.graph import ModelGraph
from common.partition.closed_sets import (
    TooManyClosedSetsError,
    closed_sets_at_least,
    closed_sets_in_order,
    enumerate_closed_sets,
)
from common.partition.decide import Conditions
from tests.graphs import brute_force, closure_problem, random_problem


def branches(count: int) -> ModelGraph:
    middle = {f"m{i}": i for i in range(count)}
    links = [("s", m) for m in middle] + [(m, "t") for m in middle]
    return ModelGraph.from_links({"s": 1, **middle, "t": 1}, links)


def test_exactly_the_closed_sets_are_enumerated() -> None:
    """On 300 random DAGs the enumeration equals the definition: closed, with the source, each once."""
    rng = random.Random(1)
    for _ in range(300):
        problem = random_problem(rng)
        sets = enumerate_closed_sets(problem.graph)
        names = np.array(problem.graph.names)
        found = [frozenset(names[row].tolist()) for row in sets.members]
        expected = {members for members, _, _ in brute_force(problem, Conditions(bandwidth_bps=1.0))}
        assert len(found) == len(set(found))
        assert set(found) == expected


def test_crossing_agrees_with_the_graph() -> None:
    """The crossing matrix says of every set what `ModelGraph.crossing` says."""
    graph = closure_problem().graph
    sets = enumerate_closed_sets(graph)
    for row in range(len(sets)):
        cut = sets.cut(row)
        crossing = [graph.names[u] for u in np.flatnonzero(sets.crossing[row])]
        assert tuple(crossing) == cut.crossing


def test_too_many_sets_are_refused_not_enumerated() -> None:
    """A graph of 20 parallel branches has a million closed sets: the limit is met, and said."""
    with pytest.raises(TooManyClosedSetsError, match="22 units have more than 1000 closed sets"):
        enumerate_closed_sets(branches(20), limit=1000)


def test_the_levels_never_count_too_many() -> None:
    """What is refused unseen, by its levels' width, has as many closed sets indeed."""
    rng = random.Random(13)
    for _ in range(200):
        graph = random_problem(rng, 10).graph
        assert closed_sets_at_least(graph) <= len(enumerate_closed_sets(graph))
    assert closed_sets_at_least(branches(20)) == 2**20 + 1


def test_costs_of_many_sets_are_those_of_few() -> None:
    """8,193 sets are summed in blocks, each row by itself."""
    graph = branches(13)
    sets = enumerate_closed_sets(graph)
    edge = {name: float(i) for i, name in enumerate(graph.names)}
    cloud = {name: float(i % 7) for i, name in enumerate(graph.names)}
    edge_ms, payload_bytes, cloud_ms = sets.costs(edge, cloud)
    assert len(edge_ms) == len(payload_bytes) == len(cloud_ms) == 2**13 + 1
    for row in (0, 4095, 4096, 8191, 8192):
        cut = sets.cut(row)
        assert edge_ms[row] == sum(edge[name] for name in cut.edge_units)
        assert payload_bytes[row] == sum(graph[name].output_bytes for name in cut.crossing)
        assert cloud_ms[row] == sum(cloud[name] for name in cut.cloud_units)


def test_the_sets_in_order_are_some_of_all() -> None:
    """One more unit each, from the source alone to all of them; whatever the graph, each is closed."""
    rng = random.Random(2)
    for _ in range(100):
        graph = random_problem(rng).graph
        every = {row.tobytes() for row in enumerate_closed_sets(graph).members}
        some = closed_sets_in_order(graph)
        assert [int(row.sum()) for row in some.members] == list(range(1, len(graph) + 1))
        assert {row.tobytes() for row in some.members} <= every
        assert some.cut(some.edge_only).label == "edge-only"


def test_the_row_of_a_set_is_found() -> None:
    """One for each set of units that is there, none for another."""
    sets = closed_sets_in_order(closure_problem().graph)
    for row in range(len(sets)):
        assert np.flatnonzero(sets.rows_of(sets.cut(row).edge_units)).tolist() == [row]
    assert not sets.rows_of([sets.graph.names[-1]]).any()
