"""Facts about running frames together: what one of them does to the others."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import pytest
import torch

from cloud_daemon.frame_runner import FrameRunner
from common.errors import CleaveError
from models.batch import BatchSegment
from models.compute import ComputeThread
from models.executor import TorchExecutor
from tests.cloud_daemon.edge import GRAPH, MODEL, SPLIT, crossing
from tests.event_loop import run
from tests.tiny_model import jpeg


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "MemoryError"),
        (RuntimeError("can't allocate memory"), "can't allocate memory"),
        (IndexError("too many indices"), "IndexError: too many indices"),
    ],
)
def test_a_frame_that_cannot_be_read_fails_alone(
    monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    """Whatever its decoder raises; the frame beside it in the batch is answered."""
    tensors = crossing(SPLIT, jpeg())

    def fail() -> Mapping[str, torch.Tensor]:
        raise error

    async def main() -> None:
        frames = FrameRunner(ComputeThread("tail"), batch_max=2, batch_wait_s=0.0)
        key = BatchSegment(MODEL, TorchExecutor(), MODEL.segment(SPLIT.cloud_units, (GRAPH.sink,)), 2)
        monkeypatch.setattr(key, "best", lambda available, now: min(available, 2))
        gate = threading.Event()
        try:
            frames.compute.submit(gate.wait, 20.0)
            bad = frames.offer("a", key, fail, float("inf"))
            good = frames.offer("b", key, lambda: tensors, float("inf"))
            gate.set()
            assert (await good).batch == 2
            with pytest.raises(CleaveError, match=f"the tail failed: {said}"):
                await bad
        finally:
            gate.set()
            frames.compute.stop(5.0)

    run(main())
