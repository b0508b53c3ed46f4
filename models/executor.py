"""Execute segments: the interface, and torch as the first to fill it."""

from __future__ import annotations

import copy
import platform
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import fx

from common.errors import ConfigurationError, PlanError
from models import preprocess
from models.segment import Segment, make_module
from models.tensor_memory import dense

Result = TypeVar("Result")

_ON_CPU = (preprocess.decode, preprocess.resize, preprocess.normalize)
"""Pre-processing is Pillow's work, and runs on the CPU always."""


class CompiledSegment(Protocol):
    """A segment ready to run."""

    @property
    def segment(self) -> Segment: ...

    def run(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Run on CPU tensors by name and return CPU tensors without gaps in memory, at the executor's pace."""
        ...

    def execute(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Run at full speed; return when done, with the outputs left on the device. For measuring."""
        ...

    def warm(self, inputs: Mapping[str, torch.Tensor]) -> None:
        """Run once at full speed, so that the first frame finds memory and kernels ready."""
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
        self._stopped = threading.Event()
        self._wait = wait or self._stopped.wait

    def run(self, work: Callable[[], Result]) -> Result:
        started = self._clock()
        result = work()
        if self.slowdown > 1 and not self._stopped.is_set():
            self._wait((self.slowdown - 1) * (self._clock() - started))
        return result

    def stop(self) -> None:
        self._stopped.set()


class TorchExecutor:
    """Runs segments with torch, eagerly.

    `device` is `cpu`, `cuda`, `cuda:1` or `auto` (CUDA where there is one); `threads` 0 leaves torch's own
    choice, another number holds for the whole process. Raises `ConfigurationError` for a device that is not
    there and for numbers out of range.
    """

    name = "torch"
    most_kept = 16
    """They share the model's weights, so one costs little."""

    def __init__(self, device: str = "cpu", threads: int = 0, slowdown: float = 1.0) -> None:
        if threads < 0:
            raise ConfigurationError(f"threads is {threads}; expected 0 (torch's choice) or more")
        if not 1 <= slowdown < float("inf"):
            raise ConfigurationError(f"slowdown is {slowdown}; expected a number ≥ 1")
        self.device = _find_device(device)
        if self.device != "cpu":
            # TensorFloat-32 keeps 10 bits of a product: a tail on the GPU would give other answers than one
            # on the edge.
            torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]
        if threads:
            torch.set_num_threads(threads)
        self.threads = torch.get_num_threads()
        self.slowdown = slowdown
        self.pace = Pace(slowdown)
        self._moved: dict[int, tuple[Any, Any]] = {}

    @property
    def device_description(self) -> str:
        if self.device == "cpu":
            return describe_cpu()
        return torch.cuda.get_device_name(self.device)

    def compile(self, segment: Segment) -> TorchSegment:
        """Make `segment` ready. Weights go to the device once, whatever number of segments share them."""
        if self.device == "cpu":
            return TorchSegment(segment, segment.module, self)
        graph = _with_transfers(segment.module.graph, self.device)
        attributes = {
            str(node.target): self._on_device(segment.module, str(node.target))
            for node in graph.nodes
            if node.op in ("call_module", "get_attr")
        }
        return TorchSegment(segment, make_module(graph, attributes), self)

    def stop(self) -> None:
        """End the waits of the pacing, now and from now on."""
        self.pace.stop()

    def _on_device(self, module: fx.GraphModule, target: str) -> Any:
        path, _, name = target.rpartition(".")
        original = getattr(module.get_submodule(path), name)
        if id(original) not in self._moved:
            # The original is kept with its copy, so that its id is not given to another.
            copied = original if isinstance(original, torch.Tensor) else copy.deepcopy(original)
            # Channels-last weights are for CPUs; cuDNN's float32 kernels are made for the usual layout.
            moved = copied.to(self.device, memory_format=torch.contiguous_format)
            self._moved[id(original)] = (original, moved)
        return self._moved[id(original)][1]


class TorchSegment:
    """A segment on a `TorchExecutor`'s device."""

    def __init__(self, segment: Segment, module: fx.GraphModule, executor: TorchExecutor) -> None:
        self.segment = segment
        self.module = module
        self._executor = executor

    def run(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """See `CompiledSegment.run`. Raises `PlanError` for a missing input, `FrameError` for a bad frame."""
        return self._executor.pace.run(lambda: self._to_host(self.execute(inputs)))

    @torch.inference_mode()
    def execute(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """See `CompiledSegment.execute`."""
        if missing := [name for name in self.segment.inputs if name not in inputs]:
            raise PlanError(f"segment of {len(self.segment.units)} units: input {missing[0]!r} is missing")
        outputs = self.module.forward(*(inputs[name] for name in self.segment.inputs))
        if self._executor.device != "cpu":
            torch.cuda.synchronize(self._executor.device)
        return dict(zip(self.segment.outputs, outputs, strict=True))

    def warm(self, inputs: Mapping[str, torch.Tensor]) -> None:
        """See `CompiledSegment.warm`."""
        self._to_host(self.execute(inputs))

    @staticmethod
    @torch.inference_mode()
    def _to_host(outputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: dense(tensor.cpu())[0] for name, tensor in outputs.items()}


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


def _find_device(device: str) -> str:
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = device.partition(":")
    if kind == "cpu" and not number:
        return device
    if kind != "cuda" or (number and not number.isdigit()):
        raise ConfigurationError(f"device {device!r}: expected auto, cpu, cuda or cuda:NUMBER")
    if not torch.cuda.is_available():
        raise ConfigurationError(
            f"device {device!r}: this torch ({torch.__version__}) finds no CUDA device; "
            "install a CUDA build of torch and the driver, or use device auto or cpu"
        )
    if number and int(number) >= torch.cuda.device_count():
        raise ConfigurationError(f"device {device!r}: there are {torch.cuda.device_count()} CUDA devices")
    return device


def _with_transfers(graph: fx.Graph, device: str) -> fx.Graph:
    """Copy `graph` with a transfer to `device` wherever a node there reads a tensor that is on the CPU."""
    copied = fx.Graph()
    on_cpu: dict[fx.Node, fx.Node] = {}
    on_device: dict[fx.Node, fx.Node] = {}

    def transferred(source: fx.Node) -> fx.Node:
        if source not in on_device:
            on_device[source] = copied.call_method("to", (on_cpu[source], device))
        return on_device[source]

    def anywhere(source: fx.Node) -> fx.Node:
        return on_cpu.get(source) or on_device[source]

    for node in graph.nodes:
        if node.op == "placeholder" or node.target in _ON_CPU:
            on_cpu[node] = copied.node_copy(node, anywhere)
        elif node.op == "output":
            copied.node_copy(node, anywhere)
        else:
            on_device[node] = copied.node_copy(node, transferred)
    return copied
