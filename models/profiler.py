"""Measure what each unit costs on this device with this executor."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import torch

from common.profile import Profile, ProfileKey
from models.coding_profile import RUNS, CodingRun, offered
from models.executor import CompiledSegment, Executor
from models.model import PREPROCESSING_UNITS, Model
from models.preprocess import as_frame, image_size
from models.sample_frame import sample_frame

__all__ = ["ProfileRun", "profile_key", "profile_model", "sample_frame"]

Result = TypeVar("Result")

_ROUNDS = 8
"""In each round every unit and both wholes run once; the first round warms up."""


def profile_key(model: Model, executor: Executor, frame: bytes) -> ProfileKey:
    """Return what a profile for frames like this one goes by. Raises `FrameError` for what is no image."""
    width, height = image_size(frame)
    return ProfileKey(
        fingerprint=model.fingerprint,
        device=executor.device_description,
        executor=executor.name,
        threads=executor.threads,
        slowdown=executor.slowdown,
        frame=f"{width}x{height}",
    )


class ProfileRun:
    """A profile in the making: bounded steps, for a thread that has frames to serve in between.

    Units and wholes first, in rounds; then, in one more pass, what each unit's output costs to send.

    Units run one after another, as in a frame, and not each again and again: then the weights of one push out
    those of another, and the units with many weights are seen to be slower than when they run hot.

    They are measured at full speed and multiplied by the executor's slowdown, which is what its pacing does to
    a run. They are then scaled so that their sums over the pre-processing and over the network are the times of
    these measured as wholes, as frames run them: a sum of unit times is not a segment's time.
    """

    def __init__(
        self,
        model: Model,
        executor: Executor,
        frame: bytes,
        *,
        clock: Callable[[], float] = time.perf_counter,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        """Prepare a run over one encoded frame. Raises `FrameError` for what is no image."""
        self.key = profile_key(model, executor, frame)
        self._model, self._executor = model, executor
        self._clock, self._wait = clock, wait
        source = model.graph.source
        self._frame = as_frame(frame)
        self._tensors: dict[str, torch.Tensor] = {}
        units = model.graph.names[1:]
        before = [name for name in units if name in PREPROCESSING_UNITS]
        network = [name for name in units if name not in PREPROCESSING_UNITS]
        self._boundary = before[-1]
        self._wholes = ((source, *before), tuple(network))
        self._unit_s: dict[str, list[float]] = {name: [] for name in units}
        self._whole_s: dict[tuple[str, ...], list[float]] = {whole: [] for whole in self._wholes}
        self._compiled: dict[tuple[str, ...], CompiledSegment] = {}
        self._codings = CodingRun(clock, executor.slowdown)
        specs = {unit.name: unit.output for unit in model.graph_for(frame).units}
        to_send = [name for name in units if name != model.graph.sink]
        self.total_steps = _ROUNDS * (len(units) + len(self._wholes))
        self.total_steps += sum(1 + RUNS * len(offered(specs[name])) for name in to_send)
        self.done_steps = 0
        self._work = self._steps()

    def step(self) -> bool:
        """Do one piece of measuring (one run of a unit or of a whole) and say whether that was the last."""
        if self.done_steps < self.total_steps:
            next(self._work)
            self.done_steps += 1
        return self.done_steps == self.total_steps

    def profile(self) -> Profile:
        """Return what was measured. Raises `RuntimeError` while steps are left."""
        if self.done_steps < self.total_steps:
            raise RuntimeError(f"the profile has {self.total_steps - self.done_steps} steps left")
        unit_ms: dict[str, float] = {self._model.graph.source: 0.0}
        for whole, whole_s in self._whole_s.items():
            medians = {
                name: statistics.median(self._unit_s[name][1:]) for name in whole if name in self._unit_s
            }
            total_s = sum(medians.values())
            scale = statistics.median(whole_s[1:]) / total_s if total_s else 0.0
            for name, seconds in medians.items():
                unit_ms[name] = seconds * scale * self._executor.slowdown * 1000
        return Profile(self.key, unit_ms, self._codings.codings, self._frame.numel())

    def _steps(self) -> Iterator[None]:
        for _ in range(_ROUNDS):
            pass_s = 0.0
            for name, seconds in self._pass():
                pass_s += seconds
                if name == self._boundary:
                    entry = self._tensors[name]
                yield
            # As frames come: after a pause, in which other work pushes the weights out of the caches.
            self._wait(max(self._executor.slowdown - 1, 1) * pass_s)
            for whole in self._wholes:
                inputs = {self._model.graph.source: self._frame, self._boundary: entry}
                self._measure_whole(whole, inputs)
                yield
        for name, _ in self._pass():
            if name != self._model.graph.sink:
                yield
                yield from self._codings.steps(name, self._tensors[name].cpu())  # it is left on the device

    def _pass(self) -> Iterator[tuple[str, float]]:
        """Run one unit after another and tell its time in s; tensors are kept as long as they are to be read."""
        self._tensors = {self._model.graph.source: self._frame}
        unread = {name: len(readers) for name, readers in self._model.graph.successors.items()}
        for name in self._model.graph.names[1:]:
            seconds = self._measure_unit(name)
            for read in self._segment(name).segment.inputs:
                unread[read] -= 1
                if not unread[read]:
                    del self._tensors[read]
            yield name, seconds

    def _segment(self, *names: str) -> CompiledSegment:
        """Return the segment of `names`, compiled once; its last unit is its output."""
        if names not in self._compiled:
            self._compiled[names] = self._executor.compile(self._model.segment(names, [names[-1]]))
        return self._compiled[names]

    def _measure_unit(self, name: str) -> float:
        compiled = self._segment(name)
        inputs = {read: self._tensors[read] for read in compiled.segment.inputs}
        outputs, seconds = self._timed(lambda: compiled.execute(inputs))
        self._unit_s[name].append(seconds)
        self._tensors[name] = outputs[name]
        return seconds

    def _measure_whole(self, names: tuple[str, ...], inputs: Mapping[str, torch.Tensor]) -> None:
        compiled = self._segment(*names)
        first = not self._whole_s[names]
        run = compiled.warm if first else compiled.run  # the first time does not count
        seconds = self._timed(lambda: run(inputs))[1] / self._executor.slowdown
        self._whole_s[names].append(seconds)
        if self._executor.slowdown == 1:  # else its pacing was the pause
            self._wait(seconds)

    def _timed(self, work: Callable[[], Result]) -> tuple[Result, float]:
        started = self._clock()
        result = work()
        return result, self._clock() - started


def profile_model(
    model: Model,
    executor: Executor,
    frame: bytes,
    on_progress: Callable[[int, int], object] | None = None,
) -> Profile:
    """Measure everything at once; `on_progress` is told (steps done, steps in all) after each step."""
    run = ProfileRun(model, executor, frame)
    finished = False
    while not finished:
        finished = run.step()
        if on_progress:
            on_progress(run.done_steps, run.total_steps)
    return run.profile()
