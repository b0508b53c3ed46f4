"""The few calls of torch.cuda that executors make, in one place: what runs on a GPU is asked for here.

    one stream for work  ──copy in──forward──copy out──►│ synchronized: the caller goes on
    one to fetch on      ──copy in──copy in──►            of frames that wait, beside all that is computed
    one to capture on    ──warm-up──warm-up──[capture]──►  only while a CUDA graph is made

Once a daemon serves only its compute thread calls it, but for `fetch`, which is the event loop's as frames come; and
others may free tensors. Torch allows both at any time, so captures forbid unsafe calls to their own thread alone
(`thread_local`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import torch

Work = Callable[[], tuple[torch.Tensor, ...]]

WARM_UPS = 3
"""Runs before a capture, for what libraries do at their first calls; as torch.cuda.make_graphed_callables has it."""


class Graph(Protocol):
    """Work that was captured. `replay` queues it again, as it was, on the current stream, for the same memory."""

    @property
    def outputs(self) -> tuple[torch.Tensor, ...]: ...
    @property
    def nbytes(self) -> int:
        """Memory of the device that it keeps."""
        ...

    def replay(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of a device, in bytes."""

    free: int
    total: int


class Cuda(Protocol):
    """A device with a stream of its own. Raises `RuntimeError`, as torch does, for what the device refuses."""

    @property
    def name(self) -> str:
        """As `torch.device` takes it."""
        ...

    @property
    def description(self) -> str: ...

    def stream(self) -> AbstractContextManager[object]:
        """Make the own stream the current one: what is called within is queued there, in order.

        It may stay so on this thread.
        """
        ...

    def synchronize(self) -> None:
        """Wait until the own stream has done all that was queued."""
        ...

    def capture(self, work: Work) -> Graph:
        """Run `work` a few times, then once more to record it. To be called with the own stream current."""
        ...

    def memory(self) -> Memory: ...

    def pinned(self, nbytes: int) -> torch.Tensor:
        """Allocate host memory uint8[nbytes] that the device copies from by itself."""
        ...

    def is_pinned(self, tensor: torch.Tensor) -> bool:
        """Say whether a tensor lies in such memory."""
        ...

    def fetch(self, tensor: torch.Tensor) -> torch.Tensor:
        """Queue a copy to the device beside the own stream, from any thread; it is there after `await_fetched`."""
        ...

    def await_fetched(self) -> None:
        """Have what is queued on the own stream from now on wait for all that has been fetched so far."""
        ...


@contextmanager
def queueing(cuda: Cuda) -> Iterator[None]:
    """Queue on the own stream without waiting. What an error leaves queued has ended when the error goes on.

    The copies among it read memory that the caller frees then.
    """
    with cuda.stream():
        try:
            yield
        except BaseException:
            cuda.synchronize()
            raise


@contextmanager
def working(cuda: Cuda) -> Iterator[None]:
    """Queue on the own stream and wait for all of it, whatever comes: no copy outlasts the memory it reads.

    Times measured around it are true: a call of torch.cuda returns long before its work is done.
    """
    with cuda.stream():
        try:
            yield
        finally:
            cuda.synchronize()


_NOTHING_TO_UNDO = nullcontext()


class CudaDevice:
    """`Cuda` by torch.cuda."""

    def __init__(self, name: str) -> None:
        # TensorFloat-32 keeps 10 bits of a product: a tail on the GPU would give other answers than one on the edge.
        torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]
        torch.backends.cudnn.rnn.fp32_precision = "ieee"  # type: ignore[attr-defined]
        torch.backends.cuda.matmul.fp32_precision = "ieee"
        self.name = name
        self._stream = torch.cuda.Stream(device=name)  # type: ignore[no-untyped-call]
        self._fetching = torch.cuda.Stream(device=name)  # type: ignore[no-untyped-call]
        self._capturing = torch.cuda.Stream(device=name)  # type: ignore[no-untyped-call]
        self._fetched = torch.cuda.Event()  # type: ignore[no-untyped-call]
        """Recorded anew for each batch: whoever waits for it already waits for what it was then."""

    @property
    def description(self) -> str:
        return torch.cuda.get_device_name(self.name)

    def stream(self) -> AbstractContextManager[object]:
        # Not torch.cuda.stream: to and fro, twice for each batch, took a tenth of a ms of Python that finds its
        # caches cold. The thread that computes has no other work for this device.
        if torch.cuda.current_stream(self._stream.device_index) != self._stream:
            torch.cuda.set_stream(self._stream)
        return _NOTHING_TO_UNDO

    def synchronize(self) -> None:
        self._stream.synchronize()

    def capture(self, work: Work) -> CapturedGraph:
        # A capture that fails leaves its stream the current one; the outer context puts that right.
        with torch.cuda.stream(self._stream):
            self._capturing.wait_stream(self._stream)
            with torch.cuda.stream(self._capturing):
                for _ in range(WARM_UPS):
                    work()
            self._capturing.synchronize()
            torch.cuda.empty_cache()
            before = torch.cuda.memory_reserved(self.name)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=self._capturing, capture_error_mode="thread_local"):
                outputs = work()
            nbytes = torch.cuda.memory_reserved(self.name) - before
            self._stream.wait_stream(self._capturing)
        return CapturedGraph(graph, outputs, max(nbytes, 0))

    def memory(self) -> Memory:
        free, total = torch.cuda.mem_get_info(self.name)
        cached = torch.cuda.memory_reserved(self.name) - torch.cuda.memory_allocated(self.name)
        return Memory(free + cached, total)

    def pinned(self, nbytes: int) -> torch.Tensor:
        return torch.empty(nbytes, dtype=torch.uint8, pin_memory=True)

    def is_pinned(self, tensor: torch.Tensor) -> bool:
        return tensor.is_pinned()

    def fetch(self, tensor: torch.Tensor) -> torch.Tensor:
        with torch.cuda.stream(self._fetching):
            return tensor.to(self.name, non_blocking=True)

    def await_fetched(self) -> None:
        self._fetched.record(self._fetching)
        self._stream.wait_event(self._fetched)


@dataclass(frozen=True, slots=True, eq=False)
class CapturedGraph:
    """`Graph` by torch.cuda. Its memory pool is its own, so graphs may be replayed and dropped in any order."""

    graph: torch.cuda.CUDAGraph
    outputs: tuple[torch.Tensor, ...]
    nbytes: int

    def replay(self) -> None:
        self.graph.replay()
