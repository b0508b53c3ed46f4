import random

import numpy as np

from common.partition.closed_sets import enumerate_closed_sets
from common.partition.frontier import non_dominated
from tests.graphs import random_problem


def test_the_sweep_keeps_exactly_the_non_dominated_points() -> None:
    """On random points with many ties the sweep equals the pairwise definition; of equal points one stays."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        points = rng.integers(0, 6, size=(30, 3)).astype(float)
        keep = non_dominated(points[:, 0], points[:, 1], points[:, 2])
        for i, point in enumerate(points):
            beaten = any((q <= point).all() and (q < point).any() for q in points)
            twins = [j for j, q in enumerate(points) if (q == point).all()]
            if beaten:
                assert not keep[i]
            else:
                assert sum(bool(keep[j]) for j in twins) == 1


def test_edge_only_is_always_on_the_frontier() -> None:
    """It alone needs no link, so it stays even where another cut has the same three costs."""
    rng = random.Random(2)
    for _ in range(200):
        frontier = random_problem(rng).frontier
        assert frontier.edge_only.sum() == 1


def test_the_frontier_is_a_part_of_the_closed_sets() -> None:
    """Each entry carries the costs of its own cut."""
    problem = random_problem(random.Random(3))
    sets = enumerate_closed_sets(problem.graph)
    edge, size, cloud = sets.costs(problem.edge_ms, problem.cloud_ms)
    frontier = problem.frontier
    for entry, row in enumerate(frontier.rows):
        costs = (frontier.edge_ms[entry], frontier.payload_bytes[entry], frontier.cloud_ms[entry])
        assert costs == (edge[row], size[row], cloud[row])
