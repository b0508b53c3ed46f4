"""Execute segments on a GPU: the network there, on a stream of its own; pre-processing on the CPU.

    pinned memory, filled by the socket ──copy──► network: eager, or one CUDA graph ──copy──► pinned memory
                  as soon as it is full ──┘       └─────── one stream, one wait at its end ───────────────┘

Copies from pinned memory go on by themselves: a frame's while the frames before it are computed, and nothing waits
between them and the kernels. A segment returns when its stream has ended all of it, also when it fails: then nobody
reads its inputs any more.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
import torch
from torch import fx

from common.wire.incoming import Allocate, aligned_buffer
from models import preprocess
from models.cancel_token import CancelToken
from models.cuda_device import Cuda, queueing, working
from models.cuda_graphs import GraphRoom, SegmentGraphs
from models.executor import TorchExecutor, arguments_of
from models.pinned_memory import POOL_BYTES, PinnedPool
from models.precision import Precision, tolerance_of, torch_dtype
from models.segment import Segment, make_module
from models.tensor_memory import dense

log = structlog.get_logger()

_ON_CPU = (preprocess.decode, preprocess.resize, preprocess.normalize)
"""Pre-processing is Pillow's work, and runs on the CPU always."""


class CudaExecutor(TorchExecutor):
    """Runs segments with torch on one GPU, in float32 unless `precision` says otherwise."""

    compiles_anywhere = False
    """While a graph is captured nothing else may be asked of the device."""
    fetches = True

    def __init__(
        self, cuda: Cuda, threads: int = 0, slowdown: float = 1.0, precision: Precision = "float32"
    ) -> None:
        super().__init__(cuda.name, threads, slowdown)
        self.cuda = cuda
        self.precision = precision
        self.tolerance = tolerance_of(precision)
        self.room = GraphRoom(cuda)
        self._dtype = torch_dtype(precision)
        # cuDNN's float32 kernels are made for the usual layout, those for tensor cores for channels last.
        halved = self._dtype is not torch.float32
        self._format = torch.channels_last if halved else torch.contiguous_format
        self._moved: dict[int, tuple[Any, Any]] = {}

    @property
    def device_description(self) -> str:
        """The device and, since both change what a profile is valid for, what it computes in if not float32."""
        suffix = "" if self._dtype is torch.float32 else f", {self.precision}"
        return self.cuda.description + suffix

    @torch.no_grad()
    def compile(self, segment: Segment) -> CudaSegment:
        """Make `segment` ready. Weights go to the device once, whatever number of segments share them."""
        split, module = split_graph(segment.module.graph), segment.module
        with working(self.cuda):
            weights = {target: self._on_device(module, target) for target in _attributes_of(split.device)}
        host, device = make_module(split.host, {}), make_module(split.device, weights)
        return CudaSegment(segment, split, host, device, self)

    def join(self, tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        """See `Executor.join`: each frame's tensor is on the device, or copied there from where it was received."""
        with queueing(self.cuda):
            self.cuda.await_fetched()
            if len(tensors) == 1:
                return tensors[0]
            return torch.cat([self.moved(tensor) for tensor in tensors])

    def fetch(self, tensor: torch.Tensor) -> torch.Tensor:
        """See `Executor.fetch`: what lies in pinned memory, so that no copy holds the caller up.

        There is no more of it than of that memory, nor for longer.
        """
        if not self.cuda.is_pinned(tensor):
            return tensor
        try:
            return self.cuda.fetch(tensor)
        except RuntimeError as error:  # no memory there: perhaps when its turn comes
            log.debug("a frame's tensor waits on the host", reason=str(error)[:300])
            return tensor

    def receive_buffers(self) -> Allocate:
        """See `TorchExecutor.receive_buffers`: pinned memory, as long as there is some."""
        try:
            return PinnedPool(self.cuda.pinned(POOL_BYTES)).allocate
        except RuntimeError as error:
            log.warning("no pinned memory, copies to the device are slower", reason=str(error)[:300])
            return aligned_buffer

    def device_memory(self) -> tuple[int, int] | None:
        """See `TorchExecutor.device_memory`."""
        memory = self.cuda.memory()
        return memory.free, memory.total

    def moved(self, tensor: torch.Tensor) -> torch.Tensor:
        """Queue a copy to the device, in the same memory order: turning it round is quicker there."""
        return tensor.to(self.device, non_blocking=True)

    def laid(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a tensor on the device in the type and layout that its network computes in."""
        if tensor.dtype is torch.float32:
            tensor = tensor.to(self._dtype)
        return tensor.contiguous(memory_format=self._format) if tensor.dim() == 4 else tensor

    def widened(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return an output in the type that the graph says: half precision is nobody's concern outside."""
        return tensor.to(torch.float32) if tensor.dtype is self._dtype else tensor

    def _on_device(self, module: fx.GraphModule, target: str) -> Any:
        original = _attribute(module, target)
        if id(original) not in self._moved:
            # The original is kept with its copy, so that its id is not given to another.
            self._moved[id(original)] = (original, self._copied(original))
        return self._moved[id(original)][1]

    def _copied(self, original: Any) -> Any:
        if isinstance(original, torch.Tensor):
            return self.laid(original.to(self.device))
        copied = copy.deepcopy(original)
        return copied.to(self.device, self._dtype, memory_format=self._format)


class CudaSegment:
    """A segment on a `CudaExecutor`."""

    def __init__(
        self,
        segment: Segment,
        split: SplitGraph,
        host: fx.GraphModule,
        device: fx.GraphModule,
        executor: CudaExecutor,
    ) -> None:
        self.segment = segment
        self.host, self.device = host, device
        self._split = split
        self._executor = executor

        def forward(crossing: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
            return tuple(map(executor.widened, device.forward(*map(executor.laid, crossing))))

        # Queues the device's part. It does not know this segment, or both would keep the graphs' memory until the
        # collector comes.
        self._forward = forward
        self.graphs = SegmentGraphs(forward, executor.cuda, executor.room, executor.tolerance)

    def run(
        self, inputs: Mapping[str, torch.Tensor], token: CancelToken | None = None
    ) -> dict[str, torch.Tensor]:
        """See `CompiledSegment.run`. Raises `PlanError` for a missing input, `FrameError` for a bad frame.

        What the device has been given it does to the end: only the wait of the pacing ends with `token`.
        """
        return self._executor.pace.run(lambda: self._to_host(inputs), token)

    @torch.inference_mode()
    def execute(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """See `CompiledSegment.execute`."""
        with working(self._executor.cuda):
            return self._queue(inputs)

    @torch.inference_mode()
    def warm(self, inputs: Mapping[str, torch.Tensor]) -> None:
        """See `CompiledSegment.warm`: also looks whether a CUDA graph gains for inputs of these shapes."""
        self._to_host(inputs)
        with working(self._executor.cuda):
            crossing = self._before(inputs)[0]
            if crossing and self._split.device_outputs:
                self.graphs.consider(crossing)

    @torch.inference_mode()
    def _to_host(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        with working(self._executor.cuda):
            queued = {n: t.to("cpu", non_blocking=True) for n, t in self._queue(inputs).items()}
        return {name: dense(tensor)[0] for name, tensor in queued.items()}

    def _queue(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        crossing, found = self._before(inputs)
        if self._split.device_outputs:
            graphed = self.graphs.find(crossing)
            outputs = self._forward(crossing) if graphed is None else graphed(crossing)
            found |= zip(self._split.device_outputs, outputs, strict=True)
        return {name: found[place] for place, name in enumerate(self.segment.outputs)}

    def _before(
        self, inputs: Mapping[str, torch.Tensor]
    ) -> tuple[list[torch.Tensor], dict[int, torch.Tensor]]:
        """Run the CPU's part; return what the device's part reads, on its way there, and the outputs by place."""
        values = self.host.forward(*arguments_of(self.segment, inputs))
        crossing = [self._executor.moved(value) for value in values[: self._split.crossing]]
        return crossing, dict(zip(self._split.host_outputs, values[self._split.crossing :], strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class SplitGraph:
    """A segment's graph in two: `host` gives the `crossing` tensors that `device` takes, then its own outputs.

    The others tell each part's outputs, by their place among the segment's.
    """

    host: fx.Graph
    device: fx.Graph
    crossing: int
    host_outputs: tuple[int, ...]
    device_outputs: tuple[int, ...]


def split_graph(graph: fx.Graph) -> SplitGraph:
    """Split a segment's graph into the CPU's part, which is pre-processing, and the device's."""
    nodes = list(graph.nodes)
    (outputs,) = nodes.pop().args
    on_host = [node for node in nodes if node.op == "placeholder" or node.target in _ON_CPU]
    on_device = [node for node in nodes if node not in on_host]
    crossing = [node for node in on_host if any(reader in on_device for reader in node.users)]
    by_host = tuple(place for place, node in enumerate(outputs) if node in on_host)
    by_device = tuple(place for place, node in enumerate(outputs) if node in on_device)
    host, device = fx.Graph(), fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in on_host:
        copies[node] = host.node_copy(node, copies.__getitem__)
    host.output(tuple(copies[node] for node in (*crossing, *(outputs[place] for place in by_host))))
    for node in crossing:
        copies[node] = device.placeholder(node.name)
    for node in on_device:
        copies[node] = device.node_copy(node, copies.__getitem__)
    device.output(tuple(copies[outputs[place]] for place in by_device))
    return SplitGraph(host, device, len(crossing), by_host, by_device)


def _attributes_of(graph: fx.Graph) -> set[str]:
    return {str(node.target) for node in graph.nodes if node.op in ("call_module", "get_attr")}


def _attribute(module: fx.GraphModule, target: str) -> Any:
    path, _, name = target.rpartition(".")
    return getattr(module.get_submodule(path), name)
