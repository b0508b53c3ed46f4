"""The tails of frames: stages prepared, run and measured on the cloud's one compute thread."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from common.errors import CleaveError, LinkError, PlanError, RemoteProtocolError
from common.graph import ModelGraph
from common.plan import Stage
from common.profile import Profile, ProfileStore
from common.wire.tensors import TensorEntry, payload_bytes
from models.compute import ComputeThread, Patience, Timed
from models.crossing import from_wire
from models.executor import CompiledSegment, Executor
from models.measuring import frame_to_measure, load_or_measure
from models.model import Model
from models.profiler import ProfileRun, sample_frame
from models.stages import Stages

FREE_SIZES = {"frame": 1, "decode": 2}
"""Leading dimensions that differ from frame to frame: the file's bytes; the image's height and width."""


class DeadlinePassedError(LinkError):
    """The edge no longer waits for this frame."""


@dataclass(frozen=True, slots=True)
class Tail:
    """A stage that is ready to run."""

    stage: Stage
    compiled: CompiledSegment
    graph: ModelGraph

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


class TailPool:
    """Runs tails, prepares and measures. One for the daemon."""

    def __init__(self, model: Model, executor: Executor, state_dir: Path) -> None:
        self.model = model
        self.executor = executor
        self.compute = ComputeThread("tail")
        self._stages = Stages(model, executor, sample_frame())
        self._store = ProfileStore(state_dir)
        self._measuring: dict[str, asyncio.Future[Profile]] = {}
        self._typical_ms = 20.0

    @property
    def expected_wait_ms(self) -> float:
        """How long a frame that came now would wait for its turn, by the tails run lately."""
        return self._typical_ms * max(self.compute.waiting, 1)

    async def prepare(self, stage: Stage) -> Tail:
        """Compile and warm a stage. Raises `PlanError` when it cannot be one."""
        outputs = tuple(output.unit for output in stage.outputs)
        done = await self.compute.run(self._stages.prepare, stage.units, outputs, patience=Patience.PREPARE)
        inputs = done.result.segment.inputs
        if inputs != stage.inputs:
            raise PlanError(f"the stage reads {inputs}, the plan sends {stage.inputs}")
        return Tail(stage, done.result, self.model.graph)

    async def infer(
        self, tail: Tail, entries: Sequence[TensorEntry], payload: memoryview, deadline: float
    ) -> Timed[dict[str, torch.Tensor]]:
        """Run a frame's tail; `deadline` is on `time.perf_counter`'s clock.

        Raises `FrameError` when the frame is at fault, `DeadlinePassedError` when it is too late to begin.
        """

        def job() -> dict[str, torch.Tensor]:
            if time.perf_counter() > deadline:
                raise DeadlinePassedError("the deadline passed before its turn came")
            try:
                return tail.compiled.run(from_wire(tail.graph, entries, payload))
            except (RuntimeError, MemoryError) as error:
                raise CleaveError(f"the tail failed: {error}") from error

        done = await self.compute.run(job, patience=Patience.FRAME)
        self._typical_ms += 0.2 * (done.run_ms - self._typical_ms)
        return done

    async def warm(self) -> None:
        """Run one whole inference, so that what is broken shows before edges connect."""
        names = self.model.graph.names
        await self.compute.run(self._stages.prepare, names, (self.model.graph.sink,))

    async def profile(self, frame: bytes) -> Profile:
        """Return the profile for frames like `frame`: the saved one, or one measured now.

        Edges that ask for the same profile at the same time share one measurement. A frame that is no whole
        image is replaced by a sample.
        """
        run = ProfileRun(self.model, self.executor, await asyncio.to_thread(frame_to_measure, frame))
        digest = run.key.digest
        if digest not in self._measuring:
            task = asyncio.ensure_future(load_or_measure(run, self._store, self.compute))
            task.add_done_callback(lambda _: self._measuring.pop(digest, None))
            self._measuring[digest] = task
        return await asyncio.shield(self._measuring[digest])

    def stop(self) -> None:
        self.executor.stop()
        self.compute.stop(timeout_s=1.0)
