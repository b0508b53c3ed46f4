"""When an adaptive edge counts as settled."""

from __future__ import annotations

import pytest

from benchmarks.bench_settle import Look, has_settled, is_right


@pytest.mark.parametrize(
    ("estimate", "carried", "right"),
    [
        (None, 4e6, False),
        (4.5e6, 4e6, True),
        (50e6, 4e6, False),
        (3e6, 4e6, False),
        (9e9, 450e6, True),
        (90e6, 450e6, False),
    ],
)
def test_an_estimate_is_right_near_what_the_link_carries(
    estimate: float | None, carried: float, right: bool
) -> None:
    """On a very fast link frames arrive at once, and the estimate may say anything above."""
    assert is_right(estimate, carried) is right


def test_a_plan_stays_when_the_last_looks_agree() -> None:
    """The estimate must be right at each of them, and the cut the same."""
    old, new = Look(0.0, "cloud-only", 50e6), Look(5.0, "edge-only", 4e6)
    assert not has_settled([old, old], 4e6), "right about the old link only"
    assert not has_settled([old, new], 4e6)
    assert not has_settled([Look(5.0, "cloud-only", 4e6), new], 4e6)
    assert not has_settled([new], 4e6)
    assert has_settled([old, new, new], 4e6)
