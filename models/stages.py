"""Segments compiled and warm, kept while they may be needed."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from typing import Generic, Protocol, TypeVar
from weakref import WeakValueDictionary

import torch

from common.errors import CleaveError
from models.compute import ComputeThread, Patience, Timed
from models.crossing import frame_tensor
from models.executor import CompiledSegment, Executor, Pace
from models.model import Model
from models.segment import Segment
from models.stage_threads import StageThreads

NO_THREADS = StageThreads()
StageKey = tuple[tuple[str, ...], tuple[str, ...]]
"""Units and outputs, in the graph's order."""


class Warmed(Protocol):
    """What can be made ready by running it once."""

    def warm(self, inputs: Mapping[str, torch.Tensor]) -> None: ...


Ready = TypeVar("Ready", bound=Warmed)
Made = TypeVar("Made")


def _called(function: Callable[..., Made], *arguments: object) -> Made:
    return function(*arguments)


class KeptStages(Generic[Ready]):
    """The stages of one model in the form that `compiled` gives them. Use it from the compute thread.

    The `most_kept` that were asked for last are kept. One that has made room for others and is still referred to by
    somebody is found again, so that no stage is ever there twice. `most_live` bounds what is kept and referred to.
    """

    def __init__(
        self,
        model: Model,
        sample: bytes,
        most_kept: int,
        compiled: Callable[[Segment], Ready],
        most_live: int | None = None,
        beside: StageThreads = NO_THREADS,
    ) -> None:
        """`beside` are threads for what takes long (`StageThreads.of_executor`)."""
        self.model = model
        self._compiled = compiled
        self._most_kept = most_kept
        self._most_live = most_live
        self._beside = beside
        self._sample = frame_tensor(memoryview(bytearray(sample)))
        self._kept: OrderedDict[StageKey, Ready] = OrderedDict()
        self._live: WeakValueDictionary[StageKey, Ready] = WeakValueDictionary()
        self._to_come: dict[Future[Timed[Ready]], StageKey] = {}
        """What is being made beside frames, by the jobs that do: room has been made for it."""

    def prepare(self, units: Iterable[str], outputs: Iterable[str]) -> Ready:
        """Return the segment of `units` that gives `outputs`, compiled and run once so that it is warm.

        In whatever order they are named: a stage is a set of units, and a set of outputs. Raises `PlanError` for
        unknown units and for outputs that are not among them, `CleaveError` where too many stages are in use.
        """
        key = self._key(units, outputs)
        ready = self._find(key)
        if ready is None:
            self._make_room(key)
            ready = self._keep(key, self._made(key))
        return ready

    def _find(self, key: StageKey) -> Ready | None:
        """Return a stage that is there, as the one that was asked for last."""
        ready = self._live.get(key)
        return None if ready is None else self._keep(key, ready)

    def _keep(self, key: StageKey, made: Ready) -> Ready:
        """Keep a stage that was made, unless it is there already; return the one to use."""
        ready = self._live.setdefault(key, made)
        self._kept[key] = ready
        self._kept.move_to_end(key)
        while len(self._kept) > self._most_kept:
            self._kept.popitem(last=False)
        return ready

    def _make_room(self, key: StageKey) -> None:
        """Give up what is only kept, oldest first, before one more is made: there is never one too many.

        Raises `PlanError` for what is no stage and `CleaveError` where what others refer to is as much as may be; all
        is kept then. Quick, as nothing is built: frames wait for it, and a peer may ask for ever new stages.
        """
        self.model.check_segment(*key)
        if key in self._to_come.values():
            return  # there is room for it already
        most_live = self._most_live or math.inf
        given_up: list[StageKey] = []
        while self._kept and (len(self._kept) >= self._most_kept or self._live_soon >= most_live):
            given_up.append(self._kept.popitem(last=False)[0])
        if (live := self._live_soon) >= most_live:
            still = [(key, self._live.get(key)) for key in given_up]
            self._kept.update((key, ready) for key, ready in still if ready is not None)
            raise CleaveError(
                f"{live} stages of {self.model.name} are in use by edges here, and no more than "
                f"{most_live} are held: one of those in use can be had, or another one when edges have gone"
            )

    @property
    def _live_soon(self) -> int:
        """How many there are, with those that are being made."""
        # In this order: one that is ready meanwhile counts twice, and not never.
        to_come = sum(key not in self._live for key in set(self._to_come.values()))
        return to_come + len(self._live)

    def _made(self, key: StageKey) -> Ready:
        """Compile a segment and run it once: what takes long."""
        segment = self.model.segment(*key)
        ready = self._compiled(segment)
        ready.warm(self.example(segment))
        return ready

    def _key(self, units: Iterable[str], outputs: Iterable[str]) -> StageKey:
        return self._in_order(units), self._in_order(outputs)

    def _in_order(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return each name once, in the graph's order; unknown ones first, for the model to complain of."""
        index = self.model.graph.index
        return tuple(sorted(set(names), key=lambda name: (index.get(name, -1), name)))

    def example(self, segment: Segment) -> dict[str, torch.Tensor]:
        """Return inputs for a segment: a sample frame, and zeros of the right types and shapes."""
        graph = self.model.graph
        example: dict[str, torch.Tensor] = {}
        for name in segment.inputs:
            spec = graph[name].output
            if name == graph.source:
                example[name] = self._sample
            else:
                assert spec is not None, f"{name} has no shape"
                example[name] = torch.zeros(spec.shape, dtype=getattr(torch, spec.dtype))
        return example

    @property
    def is_making(self) -> bool:
        """Whether something is compiled beside frames: what is measured meanwhile is slower."""
        return not self._beside.idle

    async def prepare_beside(
        self,
        units: Iterable[str],
        outputs: Iterable[str],
        compute: ComputeThread,
        patience: Patience,
        called: Callable[..., Ready] = _called,
    ) -> Ready:
        """Do as `prepare` does, asked from the event loop, while frames go on: compiling and the first run take long,
        and are done beside them. What is asked for with `Patience.MEASURE` gives way to them.

        Without threads for it, all is done on the `compute` thread. `patience` is with other such jobs, or with
        frames. What takes long is done by `called(function, *arguments)`.
        """
        beside = self._beside.of(patience)
        if beside is None:
            done = await compute.run(called, self.prepare, tuple(units), tuple(outputs), patience=patience)
            return done.result
        key = self._key(units, outputs)

        def have_made() -> Future[Timed[Ready]]:
            return beside.submit(called, self._make_once, key, patience=patience)

        found = (await compute.run(self._find_or_begin, key, have_made, patience=Patience.PREPARE)).result
        if not isinstance(found, Future):
            return found
        try:
            made = await asyncio.wrap_future(found)
        finally:
            del found  # whoever has been cancelled here knows this frame, and would hold what is made
        return (await compute.run(self._keep, key, made.result, patience=Patience.PREPARE)).result

    def _find_or_begin(
        self, key: StageKey, have_made: Callable[[], Future[Timed[Ready]]]
    ) -> Ready | Future[Timed[Ready]]:
        """Return a stage that is there, or the job that makes it, in whose room there is nothing else until it ends:
        it may go on when nobody waits for it any more."""
        ready = self._find(key)
        if ready is not None:
            return ready
        self._make_room(key)
        job = have_made()
        self._to_come[job] = key
        job.add_done_callback(self._to_come.__delitem__)
        return job

    def _make_once(self, key: StageKey) -> Ready:
        """Make a stage, unless the job before this one has. On a thread beside."""
        ready = self._live.get(key)
        if ready is None:
            ready = self._live.setdefault(key, self._made(key))
        return ready


class Stages(KeptStages[CompiledSegment]):
    """The compiled segments of one model on one executor."""

    def __init__(
        self,
        model: Model,
        executor: Executor,
        sample: bytes,
        most_kept: int | None = None,
        beside: StageThreads = NO_THREADS,
    ) -> None:
        """See `KeptStages`."""
        super().__init__(model, sample, most_kept or executor.most_kept, executor.compile, beside=beside)
        self.pace: Pace = executor.pace
        """What all work for a frame goes by, also what no segment does."""
