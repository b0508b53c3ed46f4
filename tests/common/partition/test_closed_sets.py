import random

import numpy as np
import pytest

from common.graph import ModelGraph
from common.partition.closed_sets import TooManyClosedSetsError, enumerate_closed_sets
from common.partition.decide import Conditions
from tests.graphs import brute_force, closure_problem, random_problem


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
    middle = {f"m{i}": 1 for i in range(20)}
    links = [("s", m) for m in middle] + [(m, "t") for m in middle]
    graph = ModelGraph.from_links({"s": 1, **middle, "t": 1}, links)
    with pytest.raises(TooManyClosedSetsError, match="22 units have more than 1000 closed sets"):
        enumerate_closed_sets(graph, limit=1000)
