"""A real cloud daemon on a GPU, and edges without one: the answers are those of the edge alone.

pytest -m gpu
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from benchmarks.pair import Cloud, Daemon, Edge, free_port
from tests.fork_server import by_command
from tests.gpu import NEEDS_GPU

pytestmark = [*NEEDS_GPU, pytest.mark.timeout(300)]
MODEL = "resnet18"
PLANS = {"edge": "edge-only", "whole": "cloud-only", "early": "after maxpool", "late": "after add_3"}


def test_an_edge_has_the_same_answers_from_a_gpu(
    tmp_path: Path, frames: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each cut, with several edges at once, which the cloud answers in batches: classes and probabilities."""
    monkeypatch.setattr(Daemon, "spawn", staticmethod(by_command))  # CUDA is not for forks
    same: dict[str, Any] = {"CLEAVE_MODEL": MODEL, "CLEAVE_WEIGHTS": "random:0"}

    async def scenario() -> None:
        async with Cloud(
            tmp_path,
            port=free_port(),
            CLEAVE_CLOUD_DEVICE="cuda",
            CLEAVE_CLOUD_IPERF_PORT=free_port(),
            **same,
        ) as cloud:
            await cloud.listening(120)

            async def answers(name: str, plan: str) -> dict[str, Any]:
                edge = Edge(
                    tmp_path,
                    name=name,
                    cloud=cloud.address,
                    CLEAVE_EDGE_PLAN=plan,
                    CLEAVE_EDGE_DEVICE="cpu",
                    CLEAVE_EDGE_EXECUTOR="torch",
                    CLEAVE_EDGE_THREADS=2,
                    **same,
                )
                async with edge:
                    await edge.until(f"plan {plan}", lambda: edge.cut == plan, 120)
                    edge.offer(frames)
                    await edge.answered(len(frames), 120)
                ran = {record["ran"] for record in edge.records()}
                assert ran == {{"edge-only": "edge", "cloud-only": "cloud"}.get(plan, "split")}
                return {record["name"]: record["top5"] for record in edge.records()}

            alone = await answers("edge", "edge-only")
            others = await asyncio.gather(
                *(answers(name, plan) for name, plan in PLANS.items() if name != "edge")
            )
            for found in others:
                assert found.keys() == alone.keys()
                for frame, top in alone.items():
                    assert found[frame][0]["index"] == top[0]["index"]
                    assert found[frame][0]["probability"] == pytest.approx(top[0]["probability"], rel=1e-3)
        assert not [line for line in cloud.log.read_text().splitlines() if '"exception"' in line]

    asyncio.run(scenario())
