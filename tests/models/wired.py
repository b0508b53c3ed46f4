"""Tensors that were made ready to be sent, as whoever receives them has them."""

from __future__ import annotations

import torch

from common.graph import ModelGraph
from models.batch import Outcome
from models.crossing import Wired, from_wire


def received(graph: ModelGraph, wired: Wired) -> dict[str, torch.Tensor]:
    """Return the tensors by unit name, in memory of their own."""
    entries, chunks = wired
    return from_wire(graph, entries, memoryview(bytearray(b"".join(chunks))))


def answered(graph: ModelGraph, outcome: Outcome) -> dict[str, torch.Tensor]:
    """Return what an outcome is; raise it if it is an error."""
    if isinstance(outcome, BaseException):
        raise outcome
    return received(graph, outcome)
