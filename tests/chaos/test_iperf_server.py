"""Facts about an iperf3 server that hangs or dies amid a test: frames go on, the bandwidth is found otherwise."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.pair import free_port
from tests.chaos.tiny_pair import judge, make_cloud, make_edge, make_frames, offer, tracebacks


def children(parent: int, module: str) -> Iterator[int]:
    """Yield the processes that `parent` has started to run `module`."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            runs = (process / "cmdline").read_bytes().split(b"\0")
            parent_pid = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if parent_pid == parent and module.encode() in runs:
                yield int(process.name)


@pytest.mark.timeout(180)
@pytest.mark.skipif(
    importlib.util.find_spec("iperf3") is None, reason="without iperf3 there is no test to harm"
)
@pytest.mark.parametrize("harm", [signal.SIGSTOP, signal.SIGKILL], ids=["hangs", "dies"])
def test_a_server_that_is_harmed_amid_a_test_costs_neither_frames_nor_the_plan(
    tmp_path: Path, harm: signal.Signals
) -> None:
    """The turn ends, no process is left, the edge measures by a ping instead and plans, on the same connection."""
    frames = make_frames(tmp_path / "frames", 300)

    async def main() -> None:
        async with make_cloud(tmp_path, free_port()) as cloud:
            await cloud.listening()
            settings = {"CLEAVE_EDGE_SAMPLING_FPS": 15, "CLEAVE_EDGE_SLOWDOWN": 5}
            async with make_edge(tmp_path, cloud.address, **settings) as edge:
                offer(frames, edge.inbox)
                # The edge's end runs once the server listens: what is harmed then is a test, not its beginning.
                await edge.until("test", lambda: any(children(edge.pid, "edge_daemon.iperf_child")), 60)
                (server,) = children(cloud.pid, "cloud_daemon.iperf_child")
                os.kill(server, harm)
                answered = len(edge.records())
                complaint = "iperf3 not available now, measuring by ping instead"
                await edge.until("complaint", lambda: edge.logged(complaint), 30)
                await edge.answered(answered + 1, 30)  # frames go on
                await edge.planned(60)
                assert not [*children(edge.pid, "edge_daemon.iperf_child")]
                await cloud.until(
                    "end of the turn", lambda: not [*children(cloud.pid, "cloud_daemon.iperf_child")], 30
                )
                await edge.answered(len(frames), 60)
                assert edge.status()["link"]["connections"] == 1
                await edge.stop()
        assert judge(edge.results.read_bytes(), [frame.name for frame in frames]).good
        assert tracebacks(edge.log) == []
        assert tracebacks(cloud.log) == []

    asyncio.run(main())
