"""CUDA graphs for shapes that come again and again: a forward pass as one launch, where that is faster.

    inputs ──copy──► static inputs ══ replay ══► static outputs ──clone──► outputs

A network of small kernels is bound by launching them from Python, one by one. A graph launches all of them at once,
but only for the shapes, and the memory, that it was captured with. So each batch size has its own; it is used if it
computes the same and is measured to be faster, and number and memory are bounded.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from weakref import WeakSet

import structlog
import torch

from common.limits import MIB
from models.agreement import difference
from models.cuda_device import Cuda, Memory

log = structlog.get_logger()

GAIN = 0.05
"""Share of the time that a graph must save: it holds memory, and every frame is copied in and out once more."""
MOST_GRAPHS = 64
"""Of one device: sixteen segments at four batch sizes."""
MOST_SHARE = 0.25
"""Of the device's memory that graphs may hold together."""
LEAST_FREE_SHARE = 0.1
"""Of the device's memory that a capture leaves alone: frames need some, too."""
RUNS = 5
"""Of either way, in turn; the medians are compared."""
PAUSE_S = 0.005
"""Before each of them, as before a batch: the thread has waited, and finds its caches cold. Hundreds of launches take
longer then, which a loop does not show: ResNet-50 with 8 frames had 4.3 ms in one, and 5.4 in the daemon."""

Forward = Callable[[Sequence[torch.Tensor]], tuple[torch.Tensor, ...]]
Shapes = tuple[tuple[torch.Size, torch.dtype], ...]


def is_worth(eager_ms: float, graph_ms: float) -> bool:
    """Say whether a graph saves enough."""
    return graph_ms <= (1 - GAIN) * eager_ms


def why_no_room(graphs: int, held_bytes: int, memory: Memory) -> str | None:
    """Return why no further graph is captured, beside so many that hold so much; none if one may be."""
    if graphs >= MOST_GRAPHS:
        return f"{graphs} are kept, the limit is {MOST_GRAPHS}"
    if held_bytes >= MOST_SHARE * memory.total:
        return (
            f"they hold {held_bytes / MIB:.0f} MiB, the limit is {MOST_SHARE:.0%} of {memory.total / MIB:.0f}"
        )
    if memory.free < LEAST_FREE_SHARE * memory.total:
        return f"{memory.free / MIB:.0f} of {memory.total / MIB:.0f} MiB are free, too few"
    return None


class GraphRoom:
    """The graphs of one device. Those nobody keeps any more have left it."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._held: WeakSet[GraphedForward] = WeakSet()
        self._failed = False

    def why_none(self) -> str | None:
        """See `why_no_room`; nor is there a further graph once a capture has failed."""
        if self._failed:
            return "a capture has failed"
        held = list(self._held)
        return why_no_room(len(held), sum(one.nbytes for one in held), self._cuda.memory())

    def add(self, graphed: GraphedForward) -> None:
        self._held.add(graphed)

    def failed(self, error: RuntimeError) -> None:
        """Capture nothing more, and say so; the graphs there are go on.

        Some versions of torch go on counting a capture that failed as under way, and stumble over it at the next one
        (pytorch/pytorch#180395).
        """
        self._failed = True
        log.warning("no further CUDA graphs, kernels are launched one by one", reason=str(error)[:300])


class GraphedForward:
    """A forward pass captured for inputs of certain shapes."""

    def __init__(self, forward: Forward, inputs: Sequence[torch.Tensor], cuda: Cuda) -> None:
        """Capture. Raises `RuntimeError` for what cannot be captured."""
        static = [tensor.clone(memory_format=torch.contiguous_format) for tensor in inputs]
        self._inputs = static
        self._graph = cuda.capture(
            lambda: forward(static)
        )  # not by way of `self`: whatever keeps the work, no circle
        self.nbytes = self._graph.nbytes + sum(tensor.nbytes for tensor in self._inputs)

    def __call__(self, inputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Queue one replay on the current stream. The outputs are the caller's: the next replay spares them."""
        for static, tensor in zip(self._inputs, inputs, strict=True):
            static.copy_(tensor, non_blocking=True)
        self._graph.replay()
        return tuple(output.clone() for output in self._graph.outputs)


class SegmentGraphs:
    """The graphs of one segment's forward pass, by its inputs' shapes. All calls with the own stream current."""

    def __init__(
        self,
        forward: Forward,
        cuda: Cuda,
        room: GraphRoom,
        tolerance: float,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._forward, self._cuda, self._room = forward, cuda, room
        self._tolerance, self._clock, self._sleep = tolerance, clock, sleep
        self._known: dict[Shapes, GraphedForward | None] = {}

    def find(self, inputs: Sequence[torch.Tensor]) -> GraphedForward | None:
        """Return the graph to use for `inputs`; none if there is none."""
        return self._known.get(shapes_of(inputs))

    def consider(self, inputs: Sequence[torch.Tensor]) -> None:
        """Capture a graph for inputs of these shapes, and keep it if it computes the same and faster."""
        shapes = shapes_of(inputs)
        if shapes in self._known:
            return
        if reason := self._room.why_none():
            log.debug("no CUDA graph", reason=reason)
            return
        try:
            graphed = GraphedForward(self._forward, inputs, self._cuda)
            apart = self._apart(graphed, inputs)
            eager_ms, graph_ms = self._measure(graphed, inputs)
        except RuntimeError as error:  # what is captured must not synchronize, nor depend on values
            self._room.failed(error)
            return
        used = apart <= self._tolerance and is_worth(eager_ms, graph_ms)
        self._known[shapes] = graphed if used else None
        if used:
            self._room.add(graphed)
        log.info(
            "CUDA graph measured",
            shapes=[list(tensor.shape) for tensor in inputs],
            eager_ms=round(eager_ms, 3),
            graph_ms=round(graph_ms, 3),
            difference=f"{apart:.1e}",
            mib=round(graphed.nbytes / MIB),
            used=used,
        )

    def _apart(self, graphed: GraphedForward, inputs: Sequence[torch.Tensor]) -> float:
        """Return how far the graph is from the eager pass, on other values than it was captured with."""
        others = [_other_values(tensor, seed) for seed, tensor in enumerate(inputs)]
        pairs = list(zip(self._forward(others), graphed(others), strict=True))
        # An answer's classes may come in another order where two are equal; what it is made of tells, if it is there.
        telling = [pair for pair in pairs if pair[0].dtype is not torch.float64] or pairs
        return max((difference(eager, other) for eager, other in telling), default=0.0)

    def _measure(self, graphed: GraphedForward, inputs: Sequence[torch.Tensor]) -> tuple[float, float]:
        runs: tuple[Forward, Forward] = (self._forward, graphed)
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(RUNS):
            for into, run in zip(times, runs, strict=True):
                self._cuda.synchronize()
                self._sleep(PAUSE_S)
                began = self._clock()
                run(inputs)
                self._cuda.synchronize()
                into.append((self._clock() - began) * 1e3)
        return statistics.median(times[0]), statistics.median(times[1])


def shapes_of(inputs: Sequence[torch.Tensor]) -> Shapes:
    return tuple((tensor.shape, tensor.dtype) for tensor in inputs)


def _other_values(tensor: torch.Tensor, seed: int) -> torch.Tensor:
    if not tensor.is_floating_point():
        return tensor
    values = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(seed))
    return tensor.clone().copy_(values)
