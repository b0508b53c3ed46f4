import random

import pytest

from benchmarks.dads_heavy_baseline import FAMILIES, compare, dads_heavy
from tests.graphs import ONE_BYTE_PER_MS, off_hull_problem


def test_the_baseline_cannot_leave_the_hull() -> None:
    """The cut of bottleneck 6 lies off the convex hull: weighted sums find one of the ends, at 10."""
    assert dads_heavy(off_hull_problem(), ONE_BYTE_PER_MS).prediction.bottleneck_ms == pytest.approx(10)
    assert compare(off_hull_problem(), ONE_BYTE_PER_MS).gap == pytest.approx(10 / 6 - 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_gap_is_negative(family: str) -> None:
    """The exact plan is at least as good on every kind of network."""
    assert compare(FAMILIES[family](random.Random(3)), 4e6).gap >= -1e-9
