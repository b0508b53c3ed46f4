"""The baselines without us: they classify, and can be driven."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.bench_worker import Worker, WorkerError
from benchmarks.pair import free_port
from benchmarks.plain_classifier import TOP, PlainClassifier
from tests.cloud_daemon.edge import whole
from tests.event_loop import run
from tests.tiny_model import jpeg

TINY = ("tests.tiny_model:factory", "random:0")


def test_the_plain_classifier_finds_the_same_classes() -> None:
    """torchvision's own steps and eager mode lead to the unsplit model's answer."""
    ours = whole(jpeg(3))[0]
    theirs = PlainClassifier(*TINY).top5(jpeg(3))
    assert len(theirs) == TOP
    assert [c["index"] for c in theirs] == ours[:, 0].tolist()
    assert torch.allclose(
        torch.tensor([c["probability"] for c in theirs], dtype=torch.float64), ours[:, 1], atol=1e-5
    )


def test_a_picture_is_posted_and_timed(tmp_path: Path) -> None:
    """Server and client as processes; the connection is kept for a second picture."""
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg(1))
    port = str(free_port())

    async def scene() -> None:
        module = "benchmarks.http_baseline"
        async with (
            Worker(module, ["server", "127.0.0.1", port, *TINY]),
            Worker(module, ["client", "127.0.0.1", port]) as client,
        ):
            for _ in range(2):
                assert (await client.ask(str(path)))["ms"] > 0

    run(scene())


def test_a_worker_that_ends_is_an_error_not_a_wait(tmp_path: Path) -> None:
    async def scene() -> None:
        with pytest.raises(WorkerError, match=r"json\.tool .* ended with status [12]"):
            async with Worker("json.tool", [str(tmp_path / "missing")]):
                pass

    run(scene())
