"""Facts about daemons that stand still (SIGSTOP) and go on: they are done without, and used again."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from benchmarks.pair import free_port
from edge_daemon.frame_counts import FrameCounts
from tests.chaos.tiny_pair import judge, make_cloud, make_edge, make_frames, offer, tracebacks


@pytest.mark.timeout(180)
def test_whoever_stands_still_is_done_without_and_used_again(tmp_path: Path) -> None:
    """First the cloud, then the edge, for longer than silence is borne: every file has one record, none is late."""
    frames = make_frames(tmp_path / "frames", 60)
    names = [frame.name for frame in frames]

    async def main() -> None:
        async with make_cloud(tmp_path, free_port()) as cloud:
            await cloud.listening()
            async with make_edge(tmp_path, cloud.address, CLEAVE_EDGE_PLAN="cloud-only") as edge:
                await edge.until("cloud plan", lambda: edge.cut == "cloud-only", 60)
                offer(frames[:20], edge.inbox)
                await edge.answered(20, 30)
                assert edge.records()[-1]["ran"] == "cloud"

                cloud.send_signal(signal.SIGSTOP)
                offer(frames[20:40], edge.inbox)
                await edge.answered(40, 30)
                assert edge.records()[-1]["ran"].startswith("edge")
                assert edge.status()["link"]["available"] is False
                # The first status after the loss may have been written before its frames were counted.
                await edge.until("counts", lambda: edge.status()["finished_on_edge"].get("lost", 0) > 0, 30)
                cloud.send_signal(signal.SIGCONT)
                await edge.until("cloud plan", lambda: edge.cut == "cloud-only", 30)

                edge.send_signal(signal.SIGSTOP)
                offer(frames[40:], edge.inbox)
                await cloud.until("loss", lambda: cloud.logged("connection lost"), 30)
                edge.send_signal(signal.SIGCONT)
                await edge.answered(60, 30)
                await edge.until("cloud plan", lambda: edge.cut == "cloud-only", 30)
                await edge.stop()
        assert judge(edge.results.read_bytes(), names).good
        counts = FrameCounts(**edge.status()["frames"])
        assert (counts.seen, counts.answered) == (60, 60)
        assert tracebacks(edge.log) == []
        assert tracebacks(cloud.log) == []

    asyncio.run(main())
