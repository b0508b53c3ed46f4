"""The messages about stages: have one ready, measure one. `messages.py` has the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from common import limits
from common.wire.fields import check_indices, check_int, check_number, check_text, fail
from common.wire.message import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class StageMessage(Message):
    """Base of the messages that carry a stage. Units are indices in the graph."""

    units: tuple[int, ...]
    inputs: tuple[int, ...]
    outputs: tuple[tuple[int, str], ...]

    def __post_init__(self) -> None:
        check_indices(self, "units", self.units)
        check_indices(self, "inputs", self.inputs)
        if not isinstance(self.outputs, tuple) or not all(
            isinstance(row, tuple) and len(row) == 2 for row in self.outputs
        ):
            raise fail(self, "outputs", self.outputs, "pairs of unit index and destination")
        check_indices(self, "outputs", tuple(unit for unit, _ in self.outputs))
        for _, destination in self.outputs:
            named = isinstance(destination, str) and destination.isprintable()
            if not named or len(destination) > limits.MAX_NAME_CHARS:
                raise fail(self, "outputs", destination, "a destination's name")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepare(StageMessage):
    """edge → cloud: have this stage ready under this epoch."""

    code: ClassVar[int] = 6
    epoch: int

    def __post_init__(self) -> None:
        check_int(self, "epoch")
        StageMessage.__post_init__(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared(Message):
    """cloud → edge: the epoch's stage is warm, or `reason` says why it cannot be."""

    code: ClassVar[int] = 7
    epoch: int
    ready: bool
    reason: str
    prepare_ms: float

    def __post_init__(self) -> None:
        check_int(self, "epoch")
        if type(self.ready) is not bool:
            raise fail(self, "ready", self.ready, "true or false")
        check_text(self, "reason", limits.MAX_REASON_CHARS)
        check_number(self, "prepare_ms")


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureRequest(StageMessage):
    """edge → cloud: what does this stage take you as a whole, please; it may come into a plan.

    `number` tells the reply from others. The stage reads nothing whose size depends on the frame.
    """

    code: ClassVar[int] = 19
    number: int

    def __post_init__(self) -> None:
        check_int(self, "number")
        StageMessage.__post_init__(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureReply(Message):
    """cloud → edge: the stage's time in ms and, measured in turn with it, that of the network and the answer.

    Their ratio counts: the machine may have been busy. Not `measured`: `reason` says why.
    """

    code: ClassVar[int] = 20
    number: int
    measured: bool
    reason: str
    stage_ms: float
    whole_ms: float

    def __post_init__(self) -> None:
        check_int(self, "number")
        if type(self.measured) is not bool:
            raise fail(self, "measured", self.measured, "true or false")
        check_text(self, "reason", limits.MAX_REASON_CHARS)
        check_number(self, "stage_ms", "whole_ms")
