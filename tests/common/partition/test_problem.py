import random

import pytest

from common.errors import PlanError
from common.graph import ModelGraph
from common.partition.decide import Conditions
from common.partition.problem import Links, PlanningProblem
from tests.graphs import closure_problem, densenet_problem, random_problem


def closed_and_sent(graph: ModelGraph, links: Links, members: frozenset[int]) -> tuple[bool, set[int]]:
    """Say of a set whether `links` call it closed, and what they say is sent."""
    closed = all(v in members for v, w in links.closure if w in members)
    return closed, {v for v, w in links.sending if v in members and w not in members}


def test_the_reduced_links_say_the_same_as_all() -> None:
    """On random DAGs every subset is closed, and every closed one sends, as by all links."""
    rng = random.Random(12)
    for _ in range(60):
        graph = random_problem(rng, 8).graph
        links = Links.of(graph)
        for bits in range(2 ** len(graph)):
            members = frozenset(u for u in range(len(graph)) if bits >> u & 1)
            names = frozenset(graph.names[u] for u in members)
            closed, sent = closed_and_sent(graph, links, members)
            assert closed == graph.is_closed(names)
            if closed:
                assert {graph.names[u] for u in sent} == set(graph.crossing(names))


def test_dense_blocks_keep_a_linear_number_of_links() -> None:
    """Each layer of a dense block reads all before it; one link a unit is left for closure and for sending."""
    graph = densenet_problem(random.Random(0), (10,)).graph
    links = Links.of(graph)
    assert sum(len(unit.inputs) for unit in graph.units) == 76
    assert len(links.closure) == len(graph) - 1
    assert len(links.sending) == len(graph) - 1


def test_a_proposed_set_is_computed_from_the_definition() -> None:
    """Whoever proposes a set gets its cut and times; one that is not closed, or without its source, an error."""
    problem = closure_problem()
    conditions = Conditions(bandwidth_bps=8000.0, rtt_ms=2.0)
    found = problem.assess(["s", "p"], conditions)
    assert found.cut.crossing == ("s", "p")
    assert found.prediction.latency_ms == pytest.approx(1 + 1005 + 10.2 + 2)
    for illegal in (["p"], ["s", "x"]):
        with pytest.raises(PlanError):
            problem.assess(illegal, conditions)


@pytest.mark.parametrize(
    ("edge", "size", "culprit"),
    [
        ({"s": 0.0}, 1, "'t' has no edge_ms"),
        ({"s": 0.0, "t": 1.0, "u": 1.0}, 1, "'u' is no unit"),
        ({"s": 0.0, "t": -1.0}, 1, "'t': edge_ms is -1.0"),
        ({"s": 0.0, "t": float("nan")}, 1, "'t': edge_ms is nan"),
        ({"s": 0.0, "t": 1e13}, 1, "'t': edge_ms is 1000"),
        ({"s": 0.0, "t": 1.0}, 2**54, "'s': output_bytes"),
        ({"s": 0.0, "t": 1.0}, -1, "'s': output_bytes is -1"),
    ],
)
def test_impossible_problems_are_refused(edge: dict[str, float], size: int, culprit: str) -> None:
    """Times and sizes that no measurement gives are refused by name."""
    graph = ModelGraph.from_links({"s": size, "t": 1}, [("s", "t")])
    with pytest.raises(PlanError, match=culprit):
        PlanningProblem(graph, edge, {"s": 0.0, "t": 0.0})
