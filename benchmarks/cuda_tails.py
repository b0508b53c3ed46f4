"""Tails on a GPU: from bytes received in pinned buffers to answers, as the daemon does it, beside a bare pass.

    python -m benchmarks.cuda_tails [--models M,…] [--weights W] [--rounds N]

In turn, batch by batch, a few runs each: frames that wait in the cloud's queue, from when the last of them lies
received until all their answers are ready to be sent (queue, decoding, copies, network, answers; no socket);
torchvision's network as it comes; and our own tail (folded, as a CUDA graph where that gains); the latter two with
their inputs on the GPU. The bare pass is the faster one of them. Same as
`python -m benchmarks.bench --sections cuda`: rows go to var/bench/cuda, the table to docs/benchmarks.md.
"""

from __future__ import annotations

import asyncio
import random
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from benchmarks.bench_part_rows import CudaRow
from benchmarks.bench_rows import Spread
from cloud_daemon.frame_runner import FrameRunner, Ran
from cloud_daemon.tail import reader
from common.wire.tensors import TensorEntry
from models.batch import BatchSegment
from models.compute import ComputeThread
from models.crossing import to_wire
from models.executor import CompiledSegment, TorchExecutor
from models.model import Model
from models.zoo import load_model, load_network

BATCHES = (1, 2, 4, 8, 16, 32)
NOT_AT_HAND = "no CUDA machine at hand: not measured"
WARM = 5
"""Rounds that are not counted."""
RUNS = 4
"""Of each form in its turn, the first of which is not counted: a daemon at work has batch behind batch."""
FRAMES_OF_AN_EDGE = 4
PATIENCE_S = 60.0


class Tails:
    """The tail that begins behind pre-processing, in three forms. `close` ends the compute thread."""

    def __init__(self, name: str, weights: str, executor: TorchExecutor, most: int = BATCHES[-1]) -> None:
        model: Model = load_model(name, weights)
        units = (*model.network_units, model.graph.sink)
        segment = model.segment(units, (model.graph.sink,))
        (self._entry,) = segment.inputs
        self._model, self._executor = model, executor
        self._plain: nn.Module = load_network(name, weights).eval().to(executor.device)
        self._own: CompiledSegment = executor.compile(segment)
        self._daemons = BatchSegment(model, executor, segment, most)
        self._frames = FrameRunner(ComputeThread("tail"), batch_max=most, batch_wait_s=0.0)
        self._allocate = executor.receive_buffers()

    async def learn(self) -> None:
        """Verify batches, measure their sizes, make CUDA graphs: what the daemon does once frames wait together."""
        self._daemons.want(BATCHES[-1])
        await self._frames.compute.run(list, self._daemons.learn())

    def close(self) -> None:
        self._frames.compute.stop(timeout_s=1.0)

    async def measure(self, batch: int, rounds: int) -> CudaRow:
        """Run the three forms in turn, `rounds` times; return medians with quartiles."""
        tensors = [self._input(seed) for seed in range(batch)]
        received = [self._received(tensor) for tensor in tensors]
        on_device = torch.cat(tensors).to(self._executor.device)
        await self._frames.compute.run(self._own.warm, {self._entry: on_device})
        sizes: set[int] = set()

        async def daemon() -> float:
            seconds, ran = await self._answered(received)
            sizes.update(one.batch for one in ran)
            return seconds

        async def plain() -> float:
            return (await self._frames.compute.run(self._time_plain, on_device)).result

        async def own() -> float:
            return (await self._frames.compute.run(self._time_own, on_device)).result

        ways: Mapping[str, Callable[[], Awaitable[float]]] = {"daemon": daemon, "plain": plain, "own": own}
        times: dict[str, list[float]] = {name: [] for name in ways}
        order = list(ways)
        for number in range(WARM + rounds):
            random.Random(number).shuffle(order)
            for name in order:
                ran = [await ways[name]() * 1e3 for _ in range(RUNS)]
                times[name] += ran[1:] if number >= WARM else []
        return CudaRow(
            model=self._model.name,
            device=self._executor.device_description,
            batch=batch,
            ran_in=tuple(sorted(sizes)),
            **{name: Spread.of(tuple(values)) for name, values in times.items()},
        )

    async def _answered(
        self, received: Sequence[tuple[tuple[TensorEntry, ...], memoryview]]
    ) -> tuple[float, list[Ran]]:
        """Queue frames while the thread is held, release it with the last; return how long all answers take then."""
        graph, began, left = self._model.graph, 0.0, len(received)
        waiting: list[asyncio.Future[Ran]] = []
        ended: asyncio.Future[float] = asyncio.get_running_loop().create_future()

        def answered(_: asyncio.Future[Ran]) -> None:
            nonlocal left
            left -= 1
            if not left:
                ended.set_result(time.perf_counter())

        with self._held() as release:
            for number, (entries, payload) in enumerate(received):
                began = time.perf_counter()
                read = reader(graph, self._daemons, entries, payload)
                edge = f"edge {number // FRAMES_OF_AN_EDGE}"
                waiting.append(self._frames.offer(edge, self._daemons, read, began + PATIENCE_S))
                waiting[-1].add_done_callback(answered)
            release.set()
            return await ended - began, [frame.result() for frame in waiting]

    @contextmanager
    def _held(self) -> Iterator[threading.Event]:
        """Hold the compute thread until the event is set, or something fails."""
        release, held = threading.Event(), threading.Event()

        def hold() -> None:
            held.set()
            release.wait(PATIENCE_S)

        self._frames.compute.submit(hold)
        held.wait(PATIENCE_S)
        try:
            yield release
        finally:
            release.set()

    def _time_plain(self, inputs: torch.Tensor) -> float:
        with torch.inference_mode():
            began = time.perf_counter()
            self._plain(inputs)
            if inputs.is_cuda:
                torch.cuda.synchronize()
            return time.perf_counter() - began

    def _time_own(self, inputs: torch.Tensor) -> float:
        began = time.perf_counter()
        self._own.execute({self._entry: inputs})
        return time.perf_counter() - began

    def _input(self, seed: int) -> torch.Tensor:
        spec = self._model.graph[self._entry].output
        assert spec is not None
        return torch.randn(spec.shape, generator=torch.Generator().manual_seed(seed))

    def _received(self, tensor: torch.Tensor) -> tuple[tuple[TensorEntry, ...], memoryview]:
        """Return a frame's tensor as it lies in the receive buffer."""
        entries, chunks = to_wire(self._model.graph, {self._entry: tensor})
        sent = b"".join(bytes(chunk) for chunk in chunks)
        payload = self._allocate(len(sent))
        assert payload is not None, "there is no ledger here, so there is always memory"
        payload[:] = sent
        return entries, payload


def main() -> int:
    from benchmarks.bench import main as bench

    if not torch.cuda.is_available():
        print(NOT_AT_HAND, file=sys.stderr)
        return 1
    return bench(["--sections", "cuda", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
