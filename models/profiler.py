"""Measure what each unit costs on this device with this executor."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import torch

from common.profile import Profile, ProfileKey
from models.executor import Executor
from models.model import PREPROCESSING_UNITS, Model
from models.preprocess import as_frame, image_size
from models.sample_frame import sample_frame

__all__ = ["ProfileRun", "profile_model", "sample_frame"]

Result = TypeVar("Result")

_BUDGET_S = 0.06
_FEWEST, _MOST = 3, 15
"""A unit is run once to warm up, then as often as fits the budget, between these bounds."""
_WHOLE_RUNS = 6
"""Runs of the pre-processing and of the network as wholes; the first warms up."""


class ProfileRun:
    """A profile in the making: bounded steps, for a thread that has frames to serve in between.

    Units are measured at full speed and multiplied by the executor's slowdown, which is what its pacing does to
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
        width, height = image_size(frame)
        self.key = ProfileKey(
            fingerprint=model.fingerprint,
            device=executor.device_description,
            executor=executor.name,
            threads=executor.threads,
            slowdown=executor.slowdown,
            frame=f"{width}x{height}",
        )
        self._model, self._executor = model, executor
        self._clock, self._wait = clock, wait
        self._tensors = {model.graph.source: as_frame(frame)}
        self._unread = {name: len(readers) for name, readers in model.graph.successors.items()}
        self._unit_s: dict[str, float] = {model.graph.source: 0.0}
        before = [name for name in model.graph.names if name in PREPROCESSING_UNITS]
        network = [name for name in model.graph.names if name not in PREPROCESSING_UNITS]
        self._parts = (before, network)
        self._whole_s: list[float] = []
        self._boundary = before[-1]
        self._entry = torch.empty(0)
        self.total_steps = len(model.graph) - 1 + _WHOLE_RUNS * len(self._parts)
        self.done_steps = 0
        self._work = self._steps()

    def step(self) -> bool:
        """Do one piece of measuring (a unit; one run of a whole) and say whether that was the last."""
        if self.done_steps < self.total_steps:
            next(self._work)
            self.done_steps += 1
        return self.done_steps == self.total_steps

    def profile(self) -> Profile:
        """Return what was measured. Raises `RuntimeError` while steps are left."""
        if self.done_steps < self.total_steps:
            raise RuntimeError(f"the profile has {self.total_steps - self.done_steps} steps left")
        unit_ms: dict[str, float] = {}
        for names, whole_s in zip(self._parts, self._whole_s, strict=True):
            total_s = sum(self._unit_s[name] for name in names)
            scale = whole_s / total_s if total_s else 0.0
            for name in names:
                unit_ms[name] = self._unit_s[name] * scale * self._executor.slowdown * 1000
        return Profile(self.key, unit_ms)

    def _steps(self) -> Iterator[None]:
        for name in self._model.graph.names[1:]:
            self._measure_unit(name)
            yield
        frame = self._tensors[self._model.graph.source]
        for names, tensor in zip(self._parts, (frame, self._entry), strict=True):
            inputs = {self._model.graph.source: tensor, self._boundary: tensor}
            yield from self._measure_whole(names, inputs)

    def _measure_unit(self, name: str) -> None:
        compiled = self._executor.compile(self._model.segment([name], [name]))
        inputs = {read: self._tensors[read] for read in compiled.segment.inputs}
        outputs, first_s = self._timed(lambda: compiled.execute(inputs))
        repeats = int(min(max(_BUDGET_S / max(first_s, 1e-9), _FEWEST), _MOST))
        times = [self._timed(lambda: compiled.execute(inputs))[1] for _ in range(repeats)]
        self._unit_s[name] = statistics.median(times)
        self._tensors[name] = outputs[name]
        if name == self._boundary:
            self._entry = outputs[name]
        self._release(compiled.segment.inputs)

    def _measure_whole(self, names: Sequence[str], inputs: Mapping[str, torch.Tensor]) -> Iterator[None]:
        compiled = self._executor.compile(self._model.segment(names, [names[-1]]))
        times: list[float] = []
        slowdown = self._executor.slowdown
        for _ in range(_WHOLE_RUNS):
            # As frames run: paced where the device is, and after a pause. Then caches are cold, which takes
            # pre-processing from 10 to 15 ms on an x86 server; back to back it would look too fast.
            if slowdown == 1 and times:
                self._wait(times[-1])
            times.append(self._timed(lambda: compiled.run(inputs))[1] / slowdown)
            if len(times) == _WHOLE_RUNS:
                self._whole_s.append(statistics.median(times[1:]))
            yield

    def _timed(self, work: Callable[[], Result]) -> tuple[Result, float]:
        started = self._clock()
        result = work()
        return result, self._clock() - started

    def _release(self, read: Sequence[str]) -> None:
        """Drop tensors that no unit still to be measured reads."""
        for name in read:
            self._unread[name] -= 1
            if not self._unread[name] and name != self._model.graph.source:
                del self._tensors[name]


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
