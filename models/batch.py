"""Segments that run several frames at once, whatever executes them.

    frame 1 ─► decode ─► resize ─► normalize ─┐                        ┌─► outputs 1
    frame 2 ─► decode ─► resize ─► normalize ─┴─► concatenate ─► network ─► outputs 2
               each by itself                     once

Pre-processing works on single images of any size; everything behind it takes any number of frames along its
tensors' first dimension, which is verified before it is relied on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass

import structlog
import torch

from common.errors import CleaveError, without_frames
from models.agreement import difference
from models.batch_times import LONGEST_MS, BatchTimes, batch_sizes
from models.crossing import Wired, parts_to_wire, to_wire
from models.executor import CompiledSegment, Executor
from models.model import PREPROCESSING_UNITS, Model
from models.segment import Segment
from models.tensor_memory import divided

log = structlog.get_logger()

Tensors = Mapping[str, torch.Tensor]

ROUNDS = 3
"""Runs of each batch size before the best one is chosen; the first of each warms up what it needs."""


Outcome = Wired | CleaveError
"""What became of a frame: its outputs, as they are sent, or why there are none."""


@dataclass(frozen=True, slots=True)
class BatchRun:
    """What became of each frame, in order, and what each would have taken alone, in ms."""

    outcomes: list[Outcome]
    alone_ms: list[float]


class BatchSegment:
    """A segment of `model` in two parts: what runs frame by frame, and what runs frames together."""

    def __init__(self, model: Model, executor: Executor, segment: Segment, most: int) -> None:
        self.segment = segment
        self.times = BatchTimes()
        self._sizes = batch_sizes(most)
        self._wanted = 1
        """The most frames that have waited together so far."""
        self._verified = False
        self._to_learn: float = 2 if most > 1 else math.inf
        """The smallest size that has not been learnt; none is tried any more where it is infinite."""
        self._warm: set[int] = set()
        self._model = model
        self._executor = executor
        single = [name for name in segment.units if name in PREPROCESSING_UNITS]
        together = [name for name in segment.units if name not in PREPROCESSING_UNITS]
        read = {name for unit in together for name in model.graph[unit].inputs}
        self._single: CompiledSegment | None = None
        if single and (single != [model.graph.source] or not together):
            handed_on = [name for name in single if name in read or name in segment.outputs]
            self._single = executor.compile(model.segment(single, handed_on))
        self._together: CompiledSegment | None = None
        if together:
            outputs = [name for name in segment.outputs if name in together]
            self._together = executor.compile(model.segment(together, [*outputs, *self._watched(together)]))
        by_network = self._together.segment.inputs if self._together is not None else ()
        by_single = self._single.segment.inputs if self._single is not None else ()
        sent = frozenset(segment.inputs) - frozenset(by_single)
        self._fetched = sent & frozenset(by_network) if executor.fetches else frozenset()
        """What the network reads as it was sent, where that can be fetched."""

    def _watched(self, together: Sequence[str]) -> list[str]:
        """Return the logits: they can be compared, where two answers differ by the order of equal classes."""
        graph = self._model.graph
        return [
            name
            for name in graph[graph.sink].inputs
            if graph.sink in together and name in together and name not in self.segment.outputs
        ]

    def best(self, available: int, now: float) -> int:
        """How many of `available` frames to run at once; `now` is on `time.perf_counter`'s clock."""
        return self.times.best(available, now)

    def want(self, count: int) -> None:
        """Take note that so many frames have waited together, or will in a moment."""
        self._wanted = max(self._wanted, count)

    @property
    def is_wanted(self) -> bool:
        """Whether frames have waited together."""
        return self._wanted > 1

    @property
    def has_more_to_learn(self) -> bool:
        """Whether as many frames have waited together as were never tried together."""
        return self._wanted >= self._to_learn

    def warm(self, inputs: Tensors) -> None:
        """Run one frame, so that the first real one finds memory and kernels ready."""
        self._network([self._preprocessed(inputs)])

    # --- running ----------------------------------------------------------------------------------------
    def run(self, frames: Sequence[Tensors]) -> BatchRun:
        """Run frames together. One that is at fault, or fails, fails alone."""
        prepared: list[Tensors | CleaveError] = []
        alone_ms: list[float] = []
        for frame in frames:
            began = time.perf_counter()
            try:
                prepared.append(self._preprocessed(frame))
            except Exception as error:  # torch's are of many kinds, and a model's own code runs here
                prepared.append(failed(error))
            alone_ms.append((time.perf_counter() - began) * 1e3)
        self.times.add_before(alone_ms)
        good = [one for one in prepared if not isinstance(one, CleaveError)]
        began = time.perf_counter()
        found = iter(self._separately_if_need_be(good))
        network_ms = (time.perf_counter() - began) * 1e3 * self.times.alone_share(len(good))
        outcomes: list[Outcome] = []
        for i, one in enumerate(prepared):
            if isinstance(one, CleaveError):
                outcomes.append(one)
            else:
                outcomes.append(next(found))
                alone_ms[i] += network_ms
        return BatchRun(outcomes, alone_ms)

    def _separately_if_need_be(self, frames: Sequence[Tensors]) -> list[Outcome]:
        if not frames:
            return []
        try:
            began = time.perf_counter()
            outputs = self._network(frames)
            self._note(len(frames), began)
            return [*self._to_wire(frames, outputs)]
        except Exception as error:  # as above
            if len(frames) == 1:
                return [failed(error)]
            log.warning("a batch failed, its frames run one by one", frames=len(frames), reason=str(error))
        # Not until here: the error holds what the batch had in memory.
        alone = [outcome for one in frames for outcome in self._separately_if_need_be([one])]
        if not any(isinstance(outcome, CleaveError) for outcome in alone):
            self.times.refuse(len(frames))  # it is their number that fails, and none of them
        return alone

    def _to_wire(self, frames: Sequence[Tensors], outputs: Tensors) -> list[Wired]:
        """Return each frame's outputs: its part of the network's, and those of its pre-processing."""
        graph, wanted = self._model.graph, self.segment.outputs
        if all(name in outputs for name in wanted):
            return parts_to_wire(graph, {name: outputs[name] for name in wanted}, len(frames))
        parts = {name: divided(outputs[name], len(frames)) for name in wanted if name in outputs}
        return [
            to_wire(graph, {name: parts[name][i] if name in parts else frame[name] for name in wanted})
            for i, frame in enumerate(frames)
        ]

    @property
    def fetches(self) -> bool:
        """Whether `fetched` does anything."""
        return bool(self._fetched)

    def fetched(self, frame: Tensors) -> Tensors:
        """Begin to bring a frame's tensors to where the network reads them, on any thread; return what to run.

        Those of `frame` must live until that has run.
        """
        return {name: self._executor.fetch(t) if name in self._fetched else t for name, t in frame.items()}

    def _preprocessed(self, frame: Tensors) -> Tensors:
        return frame if self._single is None else {**frame, **self._single.run(frame)}

    def _network(self, frames: Sequence[Tensors]) -> dict[str, torch.Tensor]:
        """Run the network on all frames at once; its outputs are theirs, one behind the other."""
        return self._together.run(self._joined(self._together, frames)) if self._together is not None else {}

    def _joined(self, together: CompiledSegment, frames: Sequence[Tensors]) -> dict[str, torch.Tensor]:
        names = together.segment.inputs
        return {name: self._executor.join([frame[name] for frame in frames]) for name in names}

    # --- learning which batches are good ----------------------------------------------------------------
    def learn(self) -> Iterator[None]:
        """Make ready, then learn the sizes that frames have waited for, in bounded steps. May be called again.

        First it is verified that a batch gives what its frames give alone: until then frames run one by one, and
        after it has failed. Frames that come meanwhile wait for a step, so each is one run of the network; where two
        frames would take too long at once, nothing is verified. And where none wait together nothing is learnt: those
        of other stages would wait for runs that nobody needs.
        """
        if self._together is None:
            self._to_learn = math.inf
            return
        if self._make_warm(1):
            yield
        if not self.has_more_to_learn:
            return
        sizes = [size for size in self._sizes if size <= self._wanted]
        later = next((size for size in self._sizes if size > self._wanted), math.inf)
        self._to_learn = math.inf  # should anything be wrong with what comes now
        if self.times.ms(1) is None:  # no frame has come meanwhile
            self._measure(1)
            yield
        if not self._verified:
            if self._too_long(2):
                one_ms = round(self.times.ms(1) or 0.0, 1)
                log.info("frames run one by one, two at once would take too long", ms=one_ms)
                return
            apart = yield from self._difference()
            if not apart <= self._executor.tolerance:
                log.warning(
                    "batches compute something else, frames run one by one", difference=f"{apart:.1e}"
                )
                return
            self._verified = True
        for _ in range(ROUNDS):
            for size in sizes:
                if self._too_long(size):
                    later = math.inf
                    break
                if self._make_warm(size):
                    yield
                self._measure(size)
                yield
        self._to_learn = later
        measured = {size: ms for size in self._sizes if (ms := self.times.ms(size)) is not None}
        log.info(
            "batches measured",
            units=len(self.segment.units),
            ms={str(size): round(ms, 1) for size, ms in measured.items()},
            best=self.times.best(sizes[-1], time.perf_counter()),
        )

    def _make_warm(self, size: int) -> bool:
        """Run so many frames once, unless that has been done, so that the first real ones find all in place."""
        assert self._together is not None
        if size in self._warm:
            return False
        self._together.warm(self._joined(self._together, self._examples(size)))
        self._warm.add(size)
        return True

    def _measure(self, size: int) -> None:
        """Run so many frames, joined before: received ones are joined faster than examples (pinned memory)."""
        assert self._together is not None
        joined = self._joined(self._together, self._examples(size))
        began = time.perf_counter()
        self._together.run(joined)
        self._note(size, began)

    def _note(self, size: int, began: float) -> None:
        ended = time.perf_counter()
        if size in self._sizes:  # others run where a frame of a batch is at fault, and are no size to choose
            self.times.add(size, (ended - began) * 1e3, ended)

    def _too_long(self, size: int) -> bool:
        """Whether so many frames would, by what half of them took, take longer than a batch may."""
        before = self.times.ms(size // 2)
        return before is not None and 2 * before > LONGEST_MS

    def _difference(self) -> Generator[None, None, float]:
        """Return how far two frames in a batch are from the same two alone; infinite where they cannot be one."""
        assert self._together is not None
        compared = [name for name in self._together.segment.outputs if name != self._model.graph.sink]
        examples = self._examples(2)
        try:
            together = self._network(examples)
            batch = {name: divided(tensor, len(examples)) for name, tensor in together.items()}
            yield
            alone = []
            for one in examples:
                alone.append(self._network([one]))
                yield
        except Exception as error:  # as above
            log.info("no batches of this segment", units=len(self.segment.units), reason=str(error)[:300])
            return float("inf")
        return max(
            (difference(one[name], batch[name][i]) for i, one in enumerate(alone) for name in compared),
            default=0.0,
        )

    def _examples(self, count: int) -> list[Tensors]:
        """Return inputs of the network's part for so many frames, the same ones each time."""
        return [self._example(seed) for seed in range(count)]

    def _example(self, seed: int) -> Tensors:
        """Make inputs of the network's part, others for each seed."""
        assert self._together is not None
        source = torch.Generator().manual_seed(seed)
        example: dict[str, torch.Tensor] = {}
        for name in self._together.segment.inputs:
            spec = self._model.graph[name].output
            assert spec is not None, f"{name} has no shape"
            dtype = getattr(torch, spec.dtype)
            values = torch.randn(spec.shape, generator=source)
            example[name] = (
                values.to(dtype) if dtype.is_floating_point else torch.zeros(spec.shape, dtype=dtype)
            )
        return example


def failed(error: Exception) -> CleaveError:
    """Return what a frame's failure is told by; ours explain themselves, others by their kind, too."""
    if isinstance(error, CleaveError):
        return without_frames(error)
    said = str(error) if type(error) is RuntimeError else f"{type(error).__name__}: {error}"
    return CleaveError(f"the tail failed: {said}")
