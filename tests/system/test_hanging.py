"""What becomes of a daemon whose computation never ends."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from benchmarks.pair import Cloud, Edge, free_port
from tests.system.hanging_model import FILE

pytestmark = pytest.mark.timeout(120)


def model(hangs_when_there_is: Path) -> dict[str, Any]:
    name = "tests.system.hanging_model:factory"
    return {"CLEAVE_MODEL": name, "CLEAVE_WEIGHTS": "random:0", FILE: hangs_when_there_is}


def test_a_hung_cloud_ends_itself_and_its_frames_are_answered_by_the_edge(
    tmp_path: Path, frames: list[Path]
) -> None:
    """The thread never comes back; the process ends with status 1 all the same, for its supervisor to start anew."""

    async def main() -> None:
        hang = tmp_path / "hang"
        port = free_port()
        cloud = Cloud(
            tmp_path,
            port=port,
            **model(hang),
            CLEAVE_HUNG_AFTER_S=2,
            CLEAVE_CLOUD_EXECUTOR="torch",
            CLEAVE_CLOUD_IPERF_PORT=free_port(),
        )
        edge = Edge(
            tmp_path,
            cloud=cloud.address,
            **model(tmp_path / "never"),
            CLEAVE_EDGE_EXECUTOR="torch",
            CLEAVE_EDGE_PLAN="cloud-only",
        )
        async with cloud, edge:
            await edge.until("its plan", lambda: edge.cut == "cloud-only", 60)
            edge.offer(frames[:2])
            await edge.until("answers by the cloud", lambda: len(edge.records()) == 2, 60)
            assert edge.records()[-1]["ran"] == "cloud"
            hang.touch()
            edge.offer(frames[2:5])
            assert await cloud.wait() == 1
            assert "a computation has run for" in cloud.log.read_text()
            await edge.until("answers by the edge", lambda: len(edge.records()) == 5, 60)
            assert all(record["top5"] for record in edge.records())
            assert await edge.stop() == 0

    asyncio.run(main())


def test_a_hung_edge_ends_itself_and_is_restarted_without_a_loss(tmp_path: Path, frames: list[Path]) -> None:
    """The frames that it did not answer are answered by the next process."""

    async def main() -> None:
        hang = tmp_path / "hang"
        edge = Edge(
            tmp_path,
            cloud=("127.0.0.1", free_port()),
            **model(hang),
            CLEAVE_HUNG_AFTER_S=2,
            CLEAVE_EDGE_EXECUTOR="torch",
            CLEAVE_EDGE_PLAN="edge-only",
        )
        async with edge:
            edge.offer(frames[:2])
            await edge.until("answers", lambda: len(edge.records()) == 2, 60)
            hang.touch()
            edge.offer(frames[2:4])
            assert await edge.wait() == 1
        hang.unlink()
        async with edge:
            await edge.until("all answers", lambda: len(edge.records()) == 4, 60)
            assert sorted(record["name"] for record in edge.records()) == [frame.name for frame in frames[:4]]
            assert await edge.stop() == 0

    asyncio.run(main())
