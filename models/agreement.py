"""When two ways of computing the same thing are the same: the one measure, and the one bound."""

from __future__ import annotations

import torch

AGREEMENT = 1e-4
"""Largest difference, in shares of the largest value, between two float32 results of the same work."""


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    """Return the largest difference in shares of the largest value of `one`; infinite for other shapes.

    What is not a number is infinitely far from everything.
    """
    if one.shape != other.shape:
        return float("inf")
    if not one.numel():
        return 0.0
    a, b = one.double(), other.double()
    apart = float((a - b).abs().max() / a.abs().max().clamp_min(1e-30))
    return apart if apart == apart else float("inf")
