"""Facts about stages that are kept compiled: each once, whoever names it how, and only so many."""

from __future__ import annotations

from collections.abc import Mapping
from weakref import ref

import pytest
import torch

from common.errors import CleaveError, PlanError
from models.executor import TorchExecutor
from models.segment import Segment
from models.stages import KeptStages, Stages
from tests.tiny_model import jpeg, tiny_model

MODEL = tiny_model()
NETWORK = MODEL.network_units


class Made:
    """A segment that is made ready, which is all that is asked of it."""

    def __init__(self, segment: Segment) -> None:
        self.segment = segment

    def warm(self, inputs: Mapping[str, torch.Tensor]) -> None:
        assert set(inputs) == set(self.segment.inputs)


def kept(most_kept: int, most_live: int | None = None) -> KeptStages[Made]:
    return KeptStages(MODEL, jpeg(), most_kept, Made, most_live)


def last(units: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The last so many units of the network, and its output."""
    return NETWORK[-units:], NETWORK[-1:]


def test_a_stage_is_the_same_in_whatever_order_it_is_named() -> None:
    """Units and outputs are sets; named twice, or backwards, they compile nothing anew."""
    stages = Stages(MODEL, TorchExecutor(), jpeg())
    there = stages.prepare(NETWORK, NETWORK[1:3])
    assert there.segment.outputs == NETWORK[1:3]
    assert stages.prepare(reversed(NETWORK), [*reversed(NETWORK[1:3]), NETWORK[1]]) is there


@pytest.mark.parametrize(
    ("units", "outputs", "reason"),
    [
        (["nothing"], ["nothing"], "'nothing' is no unit"),
        (NETWORK, ["nothing"], "'nothing' is no unit"),
        (NETWORK[:2], NETWORK[2:3], "is not among the units"),
    ],
)
def test_what_is_no_stage_is_refused(units: list[str], outputs: list[str], reason: str) -> None:
    """And makes room for nothing: what was kept is still kept."""
    stages = kept(1)
    there = ref(stages.prepare(*last(1)))
    with pytest.raises(PlanError, match=reason):
        stages.prepare(units, outputs)
    assert stages.prepare(*last(1)) is there()


def test_one_that_made_room_and_is_referred_to_is_found_again() -> None:
    """Two of the same stage would have two memories, and their frames would never share a batch."""
    stages = kept(1)
    mine = stages.prepare(*last(1))
    stages.prepare(*last(2))
    assert stages.prepare(*last(1)) is mine


def test_no_more_than_so_many_are_held_at_a_time() -> None:
    """Those in use can be had all the same; when one of them is given back, another one can be made."""
    stages = kept(1, most_live=3)
    mine = [stages.prepare(*last(units)) for units in (1, 2, 3)]
    with pytest.raises(CleaveError, match=r"3 stages of .* are in use by edges here, and no more than 3"):
        stages.prepare(*last(4))
    assert stages.prepare(*last(1)) is mine[0]
    del mine[0]
    assert stages.prepare(*last(4)).segment.units == last(4)[0]
