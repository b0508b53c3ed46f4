"""The tails of one model's frames: stages prepared, run and measured on the cloud's one compute thread."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from weakref import ref

import structlog
import torch

from cloud_daemon.frame_runner import FrameRunner, Ran
from cloud_daemon.prepare_rank import PrepareRanks
from cloud_daemon.profiles import Profiles
from common.errors import PlanError, RemoteProtocolError
from common.graph import ModelGraph
from common.plan import Stage
from common.profile import Profile
from common.wire.codecs import RAW
from common.wire.tensors import TensorEntry, payload_bytes
from models.batch import BatchSegment
from models.compute import Patience
from models.crossing import from_wire
from models.executor import Executor
from models.measuring import measure_in_turn, whole_network
from models.model import Model
from models.profiler import sample_frame
from models.stage_threads import StageThreads
from models.stages import KeptStages, Stages

log = structlog.get_logger()

FREE_SIZES = {"frame": 1, "decode": 2}
"""Leading dimensions that differ from frame to frame: the file's bytes; the image's height and width."""

LIVE_TIMES_KEPT = 4
"""Security: different stages of a model that edges may hold ready, in times of those that are kept anyway. A session
refers to four, and with onnxruntime each has its own copy of the weights; edges that plan choose among a dozen."""


class LearningSegment:
    """A stage's segment, with the steps in which it learns which batches are good, whenever there is more to learn.

    It holds the steps, and whoever takes them does not hold it: learning ends when neither the pool nor a session's
    tail refers to it any more.
    """

    def __init__(self, batches: BatchSegment) -> None:
        self.batches = batches
        self.has_begun = False
        self.is_learning = False
        self._steps: Iterator[None] = iter(())

    def warm(self, inputs: Mapping[str, torch.Tensor]) -> None:
        """See `BatchSegment.warm`."""
        self.batches.warm(inputs)

    def begin(self) -> None:
        """Have steps taken from now on."""
        self.has_begun = self.is_learning = True
        self._steps = self.batches.learn()

    def step(self) -> bool:
        """Take one step of learning, and say whether that was the last for now."""
        for _ in self._steps:
            return False
        self.is_learning = False
        return True


@dataclass(frozen=True, slots=True)
class Tail:
    """A stage that is ready to run."""

    stage: Stage
    prepared: LearningSegment
    graph: ModelGraph

    @property
    def compiled(self) -> BatchSegment:
        return self.prepared.batches

    def check(self, entries: Sequence[TensorEntry], nbytes: int) -> None:
        """Raise `RemoteProtocolError` unless `entries` are exactly this stage's inputs, in `nbytes` of payload.

        The frame's bytes and its decoded image may have any size; every other shape is known.
        """
        wanted = tuple(self.graph.index[name] for name in self.stage.inputs)
        if tuple(entry.unit for entry in entries) != wanted:
            raise RemoteProtocolError(
                f"tensors of units {[entry.unit for entry in entries]}, the plan says {list(wanted)}"
            )
        for entry in entries:
            unit = self.graph.units[entry.unit]
            spec = unit.output
            assert spec is not None
            free = FREE_SIZES.get(unit.name, 0)
            alike = len(entry.shape) == len(spec.shape) and entry.shape[free:] == spec.shape[free:]
            if entry.dtype != spec.dtype or not alike or (unit.name == "decode" and 0 in entry.shape):
                raise RemoteProtocolError(
                    f"tensor of {unit.name} is {entry.dtype}{list(entry.shape)}, "
                    f"the model makes {spec.dtype}{list(spec.shape)}"
                )
        if nbytes != payload_bytes(entries):
            raise RemoteProtocolError(
                f"payload of {nbytes} bytes, its {len(entries)} tensors make {payload_bytes(entries)}"
            )


def reader(
    graph: ModelGraph, batches: BatchSegment, entries: Sequence[TensorEntry], payload: memoryview
) -> Callable[[], Mapping[str, torch.Tensor]]:
    """Return what gives a frame's tensors to the compute thread.

    Where a device fetches by itself, what is sent as it is goes on its way to it at once. The rest is decoded when it
    is called, and so is all where nothing is fetched: the event loop has enough to do.
    """
    if not batches.fetches or any(entry.codec != RAW or entry.dtype == "bool" for entry in entries):
        return lambda: from_wire(graph, entries, payload)
    here = from_wire(graph, entries, payload)
    return _Fetched(here, batches.fetched(here))


@dataclass(frozen=True, slots=True, eq=False)
class _Fetched:
    """A frame's tensors on their way, and where they are copied from, which must live as long."""

    here: Mapping[str, torch.Tensor]
    there: Mapping[str, torch.Tensor]

    def __call__(self) -> Mapping[str, torch.Tensor]:
        return self.there


class TailPool:
    """Runs one model's tails, prepares and measures. All pools of a daemon share its frames' queue and thread."""

    def __init__(self, model: Model, executor: Executor, state_dir: Path, frames: FrameRunner) -> None:
        self.model = model
        self.executor = executor
        self.frames = frames
        self.compute = frames.compute
        self.beside = StageThreads.of_executor(executor)
        self._stages = KeptStages(
            model,
            sample_frame(),
            executor.most_kept,
            lambda segment: LearningSegment(BatchSegment(model, executor, segment, frames.batch_max)),
            LIVE_TIMES_KEPT * executor.most_kept,
            self.beside,
        )
        self._measured = Stages(model, executor, sample_frame(), most_kept=2, beside=self.beside)
        self._one_measures = asyncio.Lock()
        """Two would push each other's stages out, and frames wait while they are compiled again on their thread."""
        self._profiles = Profiles(model, executor, state_dir, self.compute, frames.measuring)

    async def prepare(self, stage: Stage, edge: str, ranks: PrepareRanks) -> Tail:
        """Compile and warm a stage, beside frames if the executor can, with the rank of its `edge`.

        Raises `PlanError` when it cannot be one, `CleaveError` for one too many.
        """
        outputs = tuple(output.unit for output in stage.outputs)
        patience = ranks.patience(edge, time.perf_counter())
        prepared = await self._stages.prepare_beside(
            stage.units, outputs, self.compute, patience, partial(ranks.timed, edge)
        )
        inputs = prepared.batches.segment.inputs
        if inputs != stage.inputs:
            raise PlanError(f"the stage reads {inputs}, the plan sends {stage.inputs}")
        if not prepared.has_begun:
            prepared.begin()
            self._go_on_learning(prepared)
        return Tail(stage, prepared, self.model.graph)

    def _go_on_learning(self, learner: LearningSegment) -> None:
        patience = Patience.LEARN if learner.batches.is_wanted else Patience.MEASURE
        self.compute.submit(self._learn, ref(learner), patience=patience)

    def _learn(self, learning: ref[LearningSegment]) -> None:
        """Take one step of learning which batches are good, and ask for a turn for the next."""
        learner = learning()
        if learner is None:
            return  # nobody has it any more
        try:
            if learner.step():
                return
        except Exception:  # a bug, or the machine: frames run one by one, or in the batches known so far
            log.exception("batches cannot be measured")
            return
        self._go_on_learning(learner)

    def infer(
        self, edge: str, tail: Tail, entries: Sequence[TensorEntry], payload: memoryview, deadline: float
    ) -> asyncio.Future[Ran]:
        """Queue a frame's tail; see `FrameRunner.offer`, also for what this and the future raise."""
        if tail.compiled.has_more_to_learn and not tail.prepared.is_learning:
            tail.prepared.begin()
            self._go_on_learning(tail.prepared)
        read = reader(tail.graph, tail.compiled, entries, payload)
        return self.frames.offer(edge, tail.compiled, read, deadline)

    async def measure(self, stage: Stage) -> tuple[float, float]:
        """Return what a stage takes as a whole, and the network with the answer in turn with it, in ms.

        Raises `PlanError` when it cannot be one, or reads what depends on the frame's size.
        """
        if varying := FREE_SIZES.keys() & set(stage.inputs):
            raise PlanError(f"what it takes depends on the size of {min(varying)!r}")
        part = (stage.units, tuple(output.unit for output in stage.outputs))
        async with self._one_measures:
            return await measure_in_turn(self._measured, part, whole_network(self.model), self.compute)

    async def warm(self) -> None:
        """Run one whole inference, so that what is broken shows before edges connect."""
        names = self.model.graph.names
        await self.compute.run(self._stages.prepare, names, (self.model.graph.sink,))

    def profile(self, frame: bytes) -> Coroutine[Any, Any, Profile]:
        """Return the profile for frames like `frame`; see `Profiles.of`, which alone keeps the frame."""
        return self._profiles.of(frame)
