"""Facts about a cloud whose network is on a device: frames from the socket, by pinned memory, to answers."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
import torch

from common.plan import Cut
from models import cuda_executor, cuda_graphs
from models.cuda_executor import CudaExecutor
from models.pinned_memory import PinnedPool
from tests.cloud_daemon.edge import GRAPH, SPLIT, Blocked, cloud, crossing, whole
from tests.event_loop import LOOPS, run, until
from tests.models.fake_cuda import FakeCuda
from tests.tiny_model import jpeg

POOL_BYTES = 1 << 16


@pytest.fixture
def pools(monkeypatch: pytest.MonkeyPatch) -> list[PinnedPool]:
    """The pools that are made, small ones, which take short payloads too."""
    made: list[PinnedPool] = []

    class Noted(PinnedPool):
        def __init__(self, block: torch.Tensor) -> None:
            super().__init__(block)
            made.append(self)

    monkeypatch.setattr(cuda_executor, "PinnedPool", Noted)
    monkeypatch.setattr(cuda_executor, "POOL_BYTES", POOL_BYTES)
    monkeypatch.setattr("models.pinned_memory.LEAST_BYTES", 64)
    monkeypatch.setattr(cuda_graphs, "is_worth", lambda *_: True)
    return made


@pytest.mark.parametrize("loop", LOOPS)
def test_frames_of_several_edges_are_answered_from_pinned_memory(
    tmp_path: Path, pools: list[PinnedPool], loop: str
) -> None:
    """Four waiting frames lie in the pool, each answer is the whole model's, and then every buffer is back."""

    async def main() -> None:
        async with cloud(tmp_path, executor=CudaExecutor(FakeCuda())) as rack:
            (pool,) = pools
            edges = [await rack.greeted(edge=f"edge {n}") for n in range(2)]
            for edge in edges:
                assert (await edge.prepares(SPLIT, epoch=1)).ready
            frames = [jpeg(seed) for seed in range(4)]
            async with Blocked(rack):
                for number, frame in enumerate(frames):
                    edges[number % 2].infers(number, crossing(SPLIT, frame), epoch=1)
                await until(lambda: rack.server.frames_here == 4)
                sent = sum(GRAPH[name].output_bytes for name in SPLIT.crossing)
                assert pool.arena.free_bytes <= POOL_BYTES - 4 * sent
            for number in range(4):
                answer, tensor = await edges[number % 2].answer()
                torch.testing.assert_close(tensor, whole(frames[answer.frame]), rtol=1e-4, atol=1e-6)

            def all_back() -> bool:
                gc.collect()
                pool.collect()
                return pool.arena.free_bytes == pool.arena.largest_bytes == POOL_BYTES - POOL_BYTES % 64

            await until(all_back)

    run(main(), loop)


def test_many_frames_keep_their_own_memory(tmp_path: Path, pools: list[PinnedPool]) -> None:
    """A pool too small for all that is under way: buffers are used again and again, and no answer is another's."""

    async def main() -> None:
        cut = Cut.of(GRAPH, GRAPH.names[: GRAPH.index["normalize"] + 1])
        async with cloud(tmp_path, executor=CudaExecutor(FakeCuda())) as rack:
            edge = await rack.greeted()
            assert (await edge.prepares(cut, epoch=1)).ready
            frames = [jpeg(seed) for seed in range(5)]
            tensors = [crossing(cut, frame) for frame in frames]
            expected = [whole(frame) for frame in frames]
            for number in range(60):
                if number >= 4:
                    answer, tensor = await edge.answer()
                    torch.testing.assert_close(tensor, expected[answer.frame % 5], rtol=1e-4, atol=1e-6)
                edge.infers(number, tensors[number % 5], epoch=1)

    run(main())


def test_edges_and_profiles_are_told_the_precision(tmp_path: Path, pools: list[PinnedPool]) -> None:
    """It is a part of the device's name: another profile, and a line in the edge's log."""

    async def main() -> None:
        executor: Any = CudaExecutor(FakeCuda(), precision="bfloat16")
        async with cloud(tmp_path, executor=executor) as rack:
            assert rack.pool.executor.device_description == "a GPU, bfloat16"
            edge = await rack.greeted()
            assert (await edge.prepares(SPLIT, epoch=1)).ready
            edge.infers(1, crossing(SPLIT, jpeg()), epoch=1)
            _, tensor = await edge.answer()
            exact = whole(jpeg())
            assert not torch.equal(tensor, exact)
            torch.testing.assert_close(tensor[..., 1], exact[..., 1], rtol=0.1, atol=0.05)

    run(main())
