"""Facts about SIGTERM under load: each daemon ends in good order, by itself, and no frame is lost.

That it takes no more than 10 s is asked for on a quiet machine (`make chaos-links`, which ends its daemons so); here
only that it ends.
"""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from benchmarks.emulated_link import EmulatedLink, Forward
from benchmarks.pair import Daemon, free_port
from tests.chaos.tiny_pair import judge, make_cloud, make_edge, make_frames, offer, tracebacks

ENDS_S = 60.0
"""On a machine that is starved; one that hangs would take for ever."""


async def terminate(daemon: Daemon) -> None:
    """Send SIGTERM; the daemon must end by itself, with status 0."""
    daemon.send_signal(signal.SIGTERM)
    async with asyncio.timeout(ENDS_S):
        assert await daemon.wait() == 0


@pytest.mark.timeout(180)
def test_a_cloud_that_is_terminated_under_load_ends_and_costs_no_frame(tmp_path: Path) -> None:
    """The edge is told, goes on alone, and every file has its answer."""
    frames = make_frames(tmp_path / "frames", 200)

    async def main() -> None:
        async with make_cloud(tmp_path, free_port()) as cloud:
            await cloud.listening()
            settings = {"CLEAVE_EDGE_PLAN": "cloud-only", "CLEAVE_EDGE_SAMPLING_FPS": 100}
            async with make_edge(tmp_path, cloud.address, **settings) as edge:
                await edge.until("cloud plan", lambda: edge.cut == "cloud-only", 60)
                offer(frames, edge.inbox)
                await edge.answered(50, 30)
                await terminate(cloud)
                await edge.answered(200, 60)
                await edge.stop()
        assert judge(edge.results.read_bytes(), [frame.name for frame in frames]).good
        assert {record["ran"] for record in edge.records()[:40]} == {"cloud"}
        assert edge.records()[-1]["ran"].startswith("edge")
        assert tracebacks(edge.log) == []
        assert tracebacks(cloud.log) == []

    asyncio.run(main())


@pytest.mark.timeout(180)
@pytest.mark.parametrize("link_is", ["up", "silent"])
def test_an_edge_that_is_terminated_under_load_ends_and_goes_on_at_its_next_start(
    tmp_path: Path, link_is: str
) -> None:
    """Also while its frames wait on a link that has fallen silent: what has no record has one after the restart."""
    frames = make_frames(tmp_path / "frames", 200)

    async def main() -> None:
        async with make_cloud(tmp_path, free_port()) as cloud:
            await cloud.listening()
            async with EmulatedLink([Forward(listen=("127.0.0.1", 0), target=cloud.address)]) as link:
                settings = {"CLEAVE_EDGE_PLAN": "cloud-only", "CLEAVE_EDGE_SAMPLING_FPS": 100}
                async with make_edge(tmp_path, link.addresses[0], **settings) as edge:
                    await edge.until("cloud plan", lambda: edge.cut == "cloud-only", 60)
                    offer(frames, edge.inbox)
                    await edge.answered(50, 30)
                    if link_is == "silent":
                        link.cut()
                    await terminate(edge)
                assert tracebacks(edge.log) == []
                link.restore()
                settings["CLEAVE_EDGE_WHEN_DRAINED"] = "exit"
                async with make_edge(tmp_path, link.addresses[0], **settings) as edge:
                    async with asyncio.timeout(60):
                        assert await edge.wait() == 0
        assert judge(edge.results.read_bytes(), [frame.name for frame in frames]).good
        assert tracebacks(edge.log) == []
        assert tracebacks(cloud.log) == []

    asyncio.run(main())
