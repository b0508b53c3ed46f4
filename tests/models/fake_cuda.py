"""A device for tests without one: it computes at once, on the CPU, and knows what a GPU would still have queued."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from models.cuda_device import Memory, Work

GIB = 2**30


@dataclass
class FakeGraph:
    """Replays by running the work again, into the same outputs, in its own time. A stale one changes nothing."""

    cuda: FakeCuda
    work: Work
    outputs: tuple[torch.Tensor, ...]
    nbytes: int
    replays: int = 0

    def replay(self) -> None:
        assert self.cuda.within, "a replay goes to the current stream, which must be the own one"
        self.replays += 1
        if self.cuda.stale:
            return
        before = self.cuda.now
        for output, new in zip(self.outputs, self.work(), strict=True):
            output.copy_(new)
        self.cuda.now = before + self.cuda.replay_s


@dataclass
class FakeCuda:
    """`Cuda` on the CPU. `queued` says whether something was queued since the last wait."""

    name: str = "cpu"
    description: str = "a GPU"
    free: int = 8 * GIB
    total: int = 16 * GIB
    graph_bytes: int = GIB
    refuses: str = ""
    """What it says to a capture, if it refuses."""
    stale: bool = False
    replay_s: float = 0.001
    now: float = 0.0
    within: int = 0
    queued: bool = False
    graphs: list[FakeGraph] = field(default_factory=list)
    blocks: list[torch.Tensor] = field(default_factory=list)
    """Pinned memory."""
    is_full: bool = False
    """Whether nothing more can be fetched."""
    fetching: list[tuple[torch.Tensor, torch.Tensor]] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    @contextmanager
    def stream(self) -> Iterator[None]:
        self.within += 1
        self.queued = True
        try:
            yield
        finally:
            self.within -= 1

    def synchronize(self) -> None:
        self.queued = False

    def capture(self, work: Work) -> FakeGraph:
        assert self.within, "captured with the own stream current"
        if self.refuses:
            raise RuntimeError(self.refuses)
        self.graphs.append(FakeGraph(self, work, work(), self.graph_bytes))
        return self.graphs[-1]

    def memory(self) -> Memory:
        return Memory(self.free, self.total)

    def pinned(self, nbytes: int) -> torch.Tensor:
        self.blocks.append(torch.empty(nbytes, dtype=torch.uint8))
        return self.blocks[-1]

    def is_pinned(self, tensor: torch.Tensor) -> bool:
        starts = [(block.data_ptr(), block.nbytes) for block in self.blocks]
        return any(0 <= tensor.data_ptr() - start < nbytes for start, nbytes in starts)

    def fetch(self, tensor: torch.Tensor) -> torch.Tensor:
        """On its way: nothing is there, and what is copied is read when it is waited for, not before."""
        if self.is_full:
            raise RuntimeError("CUDA out of memory")
        self.fetching.append((tensor, torch.full_like(tensor, 77)))
        return self.fetching[-1][1]

    def await_fetched(self) -> None:
        assert self.within, "it is the own stream that waits"
        while self.fetching:
            tensor, there = self.fetching.pop()
            there.copy_(tensor)
