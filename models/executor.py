"""Execute segments: the interface, and torch as the first to fill it."""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import torch
from torch import fx

from common.errors import ConfigurationError, PlanError
from common.wire.incoming import Allocate, aligned_buffer
from models.agreement import AGREEMENT
from models.cancel_token import CancelToken, cancellable
from models.segment import Segment
from models.tensor_memory import concatenated, dense

Result = TypeVar("Result")


class CompiledSegment(Protocol):
    """A segment ready to run."""

    @property
    def segment(self) -> Segment: ...

    def run(
        self, inputs: Mapping[str, torch.Tensor], token: CancelToken | None = None
    ) -> dict[str, torch.Tensor]:
        """Run on CPU tensors by name and return CPU tensors without gaps in memory, at the executor's pace.

        Ends soon after `token` is cancelled, where the executor can end a run (not on CUDA): with
        `RunCancelledError`, or with the outputs where only the pace was waited for.
        """
        ...

    def execute(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Run at full speed; return when done, with the outputs left on the device. For measuring."""
        ...

    def warm(self, inputs: Mapping[str, torch.Tensor]) -> None:
        """Run at full speed, so that the next inputs of these shapes find all ready that makes them faster."""
        ...


class Executor(Protocol):
    """What runs segments on one device."""

    @property
    def name(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def device_description(self) -> str: ...
    @property
    def threads(self) -> int: ...
    @property
    def slowdown(self) -> float: ...
    @property
    def pace(self) -> Pace: ...
    @property
    def most_kept(self) -> int:
        """Compiled segments that are kept ready at most, by what one costs in memory."""
        ...

    @property
    def compiles_anywhere(self) -> bool:
        """Whether segments may be compiled and first run on one thread while another one runs others."""
        ...

    @property
    def brings_threads(self) -> bool:
        """Whether what it compiles has threads of its own, which have the priority of the one that compiled it."""
        ...

    @property
    def tolerance(self) -> float:
        """How far results of the same work may lie apart, in shares of the largest value."""
        ...

    def join(self, tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        """Join several frames' tensors along the first dimension, where the segments will read them.

        On return the joined tensor may still be in the making. `tensors`, and what they were fetched from, must
        live until a segment that was given it has returned.
        """
        ...

    @property
    def fetches(self) -> bool:
        """Whether `fetch` does anything."""
        ...

    def fetch(self, tensor: torch.Tensor) -> torch.Tensor:
        """Begin to bring a frame's tensor to where `join` needs it, where that goes on beside all else.

        On any thread. Returns what to give to `join` in its place.
        """
        ...

    def compile(self, segment: Segment) -> CompiledSegment: ...

    def stop(self) -> None: ...


class Pace:
    """Stretches work by a factor, so that one machine can play a weaker one: work of t seconds, then a wait
    of (slowdown - 1) t seconds, which `stop` ends for good."""

    def __init__(
        self,
        slowdown: float,
        *,
        clock: Callable[[], float] = time.perf_counter,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        self.slowdown = slowdown
        self._clock = clock
        self._waiting: set[threading.Event] = set()
        self._stopped = False
        self._wait = wait

    def run(self, work: Callable[[], Result], token: CancelToken | None = None) -> Result:
        """Return what `work` does, after the wait, which ends early when `token` is cancelled."""
        started = self._clock()
        result = work()
        if self.slowdown > 1:
            self._wait_for((self.slowdown - 1) * (self._clock() - started), token)
        return result

    def stop(self) -> None:
        self._stopped = True
        for over in tuple(self._waiting):
            over.set()

    def _wait_for(self, seconds: float, token: CancelToken | None) -> None:
        over = threading.Event()
        self._waiting.add(over)  # before it is asked whether all has stopped
        if token is not None:
            token.when_cancelled(over.set)
        if not self._stopped and not over.is_set():
            (self._wait or over.wait)(seconds)
        self._waiting.discard(over)


class TorchExecutor:
    """Runs segments with torch on the CPU, eagerly; on `device` in the class that says how (cuda_executor.py).

    `threads` 0 leaves torch's own choice, another number holds for the whole process. Raises
    `ConfigurationError` for numbers out of range.
    """

    name = "torch"
    most_kept = 16
    """They share the model's weights, so one costs little."""
    compiles_anywhere = True
    brings_threads = False
    """Torch's belong to the thread that runs a segment."""
    fetches = False
    tolerance = AGREEMENT

    def __init__(self, device: str = "cpu", threads: int = 0, slowdown: float = 1.0) -> None:
        if threads < 0:
            raise ConfigurationError(f"threads is {threads}; expected 0 (torch's choice) or more")
        if not 1 <= slowdown < float("inf"):
            raise ConfigurationError(f"slowdown is {slowdown}; expected a number ≥ 1")
        self.device = device
        if threads:
            torch.set_num_threads(threads)
        self.threads = torch.get_num_threads()
        self.slowdown = slowdown
        self.pace = Pace(slowdown)

    @property
    def device_description(self) -> str:
        return describe_cpu()

    def compile(self, segment: Segment) -> CompiledSegment:
        """Make `segment` ready."""
        return TorchSegment(segment, segment.module, self)

    def join(self, tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        """See `Executor.join`."""
        return concatenated(tensors)

    def fetch(self, tensor: torch.Tensor) -> torch.Tensor:
        """See `Executor.fetch`: it is there."""
        return tensor

    def receive_buffers(self) -> Allocate:
        """Return what allocates the memory that crossing tensors are received into, for its segments to read."""
        return aligned_buffer

    def device_memory(self) -> tuple[int, int] | None:
        """Return the device's free memory and all of it, in bytes; none where it is the machine's."""
        return None

    def stop(self) -> None:
        """End the waits of the pacing, now and from now on."""
        self.pace.stop()


class TorchSegment:
    """A segment on the CPU."""

    def __init__(self, segment: Segment, module: fx.GraphModule, executor: TorchExecutor) -> None:
        self.segment = segment
        self.module = module
        self._executor = executor

    def run(
        self, inputs: Mapping[str, torch.Tensor], token: CancelToken | None = None
    ) -> dict[str, torch.Tensor]:
        """See `CompiledSegment.run`. Raises `PlanError` for a missing input, `FrameError` for a bad frame."""
        with cancellable(token):
            return self._executor.pace.run(lambda: self._to_host(inputs), token)

    @torch.inference_mode()
    def execute(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """See `CompiledSegment.execute`."""
        return self._outputs(inputs)

    def warm(self, inputs: Mapping[str, torch.Tensor]) -> None:
        """See `CompiledSegment.warm`."""
        self._to_host(inputs)

    @torch.inference_mode()
    def _to_host(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: dense(tensor)[0] for name, tensor in self._outputs(inputs).items()}

    def _outputs(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        outputs = self.module.forward(*arguments_of(self.segment, inputs))
        return dict(zip(self.segment.outputs, outputs, strict=True))


def arguments_of(segment: Segment, inputs: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
    """Return a segment's inputs in its module's order. Raises `PlanError` for one that is missing."""
    if missing := [name for name in segment.inputs if name not in inputs]:
        raise PlanError(f"segment of {len(segment.units)} units: input {missing[0]!r} is missing")
    return [inputs[name] for name in segment.inputs]


def describe_cpu() -> str:
    """Name this machine's CPU, or the board it sits on where the CPU has no name of its own (ARM)."""
    for line in _read("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    board = _read("/proc/device-tree/model").strip("\0\n ")
    return board or platform.processor() or platform.machine()


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
