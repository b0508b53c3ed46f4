"""The pair at work: what a person sees who runs both daemons."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks.emulated_link import EmulatedLink, Forward, LinkShape
from benchmarks.pair import Cloud, Edge, free_port
from tests.system.conftest import MODEL

pytestmark = pytest.mark.timeout(180)

SAME_MODEL: dict[str, Any] = {"CLEAVE_MODEL": MODEL, "CLEAVE_WEIGHTS": "random:0"}
QUICK: dict[str, Any] = {
    "CLEAVE_EDGE_REPLAN_INTERVAL_S": 0.5,
    "CLEAVE_EDGE_THREADS": 1,
    "CLEAVE_EDGE_EXECUTOR": "torch",
}


def make_cloud(directory: Path, port: int, **settings: Any) -> Cloud:
    common = {
        **SAME_MODEL,
        "CLEAVE_CLOUD_IPERF_PORT": free_port(),
        "CLEAVE_CLOUD_THREADS": 1,
        "CLEAVE_CLOUD_EXECUTOR": "torch",
    }
    return Cloud(directory, port=port, **{**common, **settings})


def make_edge(directory: Path, cloud: tuple[str, int], **settings: Any) -> Edge:
    return Edge(directory, cloud=cloud, **{**SAME_MODEL, **QUICK, **settings})


def assert_one_record_each(edge: Edge, frames: list[Path]) -> None:
    assert Counter(r["name"] for r in edge.records()) == Counter(frame.name for frame in frames)


def logs_only(path: Path) -> None:
    """Assert that the log holds JSON lines and nothing else, no traceback among them."""
    for line in path.read_text().splitlines():
        entry = json.loads(line)
        assert "exception" not in entry, entry


def test_both_places_give_the_same_answers(tmp_path: Path, frames: list[Path]) -> None:
    """Edge-only, cloud-only and the planned cut answer every frame once, with the same classes."""

    async def scenario() -> None:
        async with make_cloud(tmp_path, free_port()) as cloud:
            await cloud.listening()
            answers = {}
            ways: dict[str, dict[str, Any]] = {
                "edge-alone": {"CLEAVE_EDGE_PLAN": "edge-only"},
                "cloud-alone": {"CLEAVE_EDGE_PLAN": "cloud-only"},
                "planned": {"CLEAVE_EDGE_SLOWDOWN": 20},
                "onnx": {"CLEAVE_EDGE_SLOWDOWN": 20, "CLEAVE_EDGE_EXECUTOR": "onnxruntime"},
            }
            for name, settings in ways.items():
                edge = Edge(tmp_path, name=name, cloud=cloud.address, **{**SAME_MODEL, **QUICK, **settings})
                async with edge:
                    if name == "cloud-alone":
                        await edge.until("plan", lambda e=edge: uses_cloud(e), 60)
                    edge.offer(frames[:20])
                    await edge.answered(20, 60)
                assert_one_record_each(edge, frames[:20])
                answers[name] = {r["name"]: r["top5"][0] for r in edge.records()}
                logs_only(edge.log)
                if name == "cloud-alone":
                    assert {r["ran"] for r in edge.records()} == {"cloud"}
            for frame, top in answers["edge-alone"].items():
                for other in (answers[name][frame] for name in ("cloud-alone", "planned", "onnx")):
                    assert other["index"] == top["index"]
                    assert other["probability"] == pytest.approx(top["probability"], rel=1e-3)
            assert len({r["top5"][0]["probability"] for r in edge.records()}) > 10
        logs_only(cloud.log)

    asyncio.run(scenario())


def uses_cloud(edge: Edge) -> bool:
    return edge.cut not in (None, "edge-only")


def test_order_of_starting_does_not_matter(tmp_path: Path, frames: list[Path]) -> None:
    """An edge started first serves alone, and uses the cloud once there is one."""

    async def scenario() -> None:
        port = free_port()
        async with make_edge(tmp_path, ("127.0.0.1", port), CLEAVE_EDGE_SLOWDOWN=20) as edge:
            edge.offer(frames[:3])
            await edge.answered(3, 60)
            assert {r["ran"] for r in edge.records()} == {"edge"}
            async with make_cloud(tmp_path, port) as cloud:
                await cloud.listening()
                await edge.until("cloud plan", lambda: uses_cloud(edge), 60)
                edge.offer(frames[3:6])
                await edge.answered(6, 60)
                assert edge.records()[-1]["ran"] in ("cloud", "split")
        assert_one_record_each(edge, frames[:6])

    asyncio.run(scenario())


def test_a_killed_cloud_costs_no_frame_and_is_used_again(tmp_path: Path, frames: list[Path]) -> None:
    """kill -9 of the cloud in mid-run: frames go on at the edge; after its restart the cloud is used again."""

    async def scenario() -> None:
        port = free_port()
        edge = make_edge(tmp_path, ("127.0.0.1", port), CLEAVE_EDGE_SLOWDOWN=20, CLEAVE_EDGE_SAMPLING_FPS=8)
        async with edge:
            async with make_cloud(tmp_path, port) as cloud:
                await cloud.listening()
                edge.offer(frames[:1])
                await edge.planned(60)
                edge.offer(frames[1:30])
                await edge.answered(10, 60)
                cloud.send_signal(signal.SIGKILL)
                await cloud.wait()
            await edge.answered(30, 60)
            assert edge.records()[-1]["ran"].startswith("edge")
            async with make_cloud(tmp_path, port, name="cloud-again") as again:
                await again.listening()
                await edge.until("cloud plan", lambda: uses_cloud(edge), 60)
                edge.offer(frames[30:40])
                await edge.answered(40, 60)
                assert edge.records()[-1]["ran"] in ("cloud", "split")
        assert_one_record_each(edge, frames[:40])
        logs_only(edge.log)

    asyncio.run(scenario())


def test_a_killed_edge_goes_on_where_it_was(tmp_path: Path, frames: list[Path]) -> None:
    """kill -9 of the edge in mid-run: after its restart every file has exactly one record."""

    async def scenario() -> None:
        async with make_cloud(tmp_path, free_port()) as cloud:
            await cloud.listening()
            for _ in range(3):
                async with make_edge(tmp_path, cloud.address) as edge:
                    edge.offer(frames)
                    have = len(edge.records())
                    await edge.answered(have + 5, 60)
                    edge.send_signal(signal.SIGKILL)
                    await edge.wait()
            async with make_edge(tmp_path, cloud.address, CLEAVE_EDGE_WHEN_DRAINED="exit") as edge:
                assert await edge.wait() == 0
            assert_one_record_each(edge, frames)
            numbers = [r["frame"] for r in edge.records()]
            assert len(set(numbers)) == len(numbers)
            assert cloud.running

    asyncio.run(scenario())


def test_the_cut_moves_with_the_bandwidth(tmp_path: Path, frames: list[Path]) -> None:
    """Fast link: the cloud; cut off: the edge, nothing lost; link back: the cloud, with a reason each time."""

    async def scenario() -> None:
        ports = (free_port(), free_port())
        forwards = [Forward(listen=("127.0.0.2", p), target=("127.0.0.1", p)) for p in ports]
        shape = LinkShape(rate_bps=50e6, delay_ms=2)
        async with (
            EmulatedLink(forwards, shape) as link,
            make_cloud(tmp_path, ports[0], CLEAVE_CLOUD_IPERF_PORT=ports[1]) as cloud,
        ):
            await cloud.listening()
            edge = make_edge(
                tmp_path, ("127.0.0.2", ports[0]), CLEAVE_EDGE_SLOWDOWN=20, CLEAVE_EDGE_SAMPLING_FPS=8
            )
            async with edge:
                edge.offer(frames[:1])
                await edge.planned(60)
                edge.offer(frames[1:10])
                await edge.answered(10, 60)
                assert uses_cloud(edge)
                link.cut()
                edge.offer(frames[10:30])
                await edge.answered(30, 60)
                assert edge.records()[-1]["ran"] == "edge"
                link.restore()
                await edge.until("cloud plan", lambda: uses_cloud(edge), 60)
                edge.offer(frames[30:40])
                await edge.answered(40, 60)
                assert edge.records()[-1]["ran"] in ("cloud", "split")
            assert_one_record_each(edge, frames[:40])
            plans = edge.logged("plan")
            assert all(plan["reason"] for plan in plans)
            epochs = [plan["epoch"] for plan in plans]
            assert epochs == sorted(set(epochs))

    asyncio.run(scenario())


def test_bandwidth_is_found_without_iperf3(tmp_path: Path, frames: list[Path]) -> None:
    """Where iperf3 cannot be imported both daemons say so once, and the edge measures by pings."""
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "iperf3.py").write_text("raise OSError('libiperf.so.0: cannot open shared object file')\n")
    path = {"PYTHONPATH": f"{broken}{os.pathsep}{os.getcwd()}"}

    async def scenario() -> None:
        async with make_cloud(tmp_path, free_port(), **path) as cloud:
            await cloud.listening()
            async with make_edge(tmp_path, cloud.address, **path) as edge:
                edge.offer(frames[:2])
                await edge.planned(60)
                await edge.until("bandwidth", lambda: edge.status()["link"]["bandwidth_mbit"], 30)
            complaints = edge.logged("iperf3 not available now, measuring by ping instead")
            assert len(complaints) == 1
            assert "libiperf" in complaints[0]["reason"]

    asyncio.run(scenario())


def test_garbage_harms_nobody_else(tmp_path: Path, frames: list[Path]) -> None:
    """1 MB of random bytes at the cloud's port ends that connection, with a logged reason; the edge goes on."""

    async def scenario() -> None:
        async with make_cloud(tmp_path, free_port()) as cloud:
            await cloud.listening()
            async with make_edge(tmp_path, cloud.address, CLEAVE_EDGE_PLAN="cloud-only") as edge:
                await edge.until("cloud plan", lambda: uses_cloud(edge), 60)
                await asyncio.to_thread(throw_garbage, cloud.address)
                edge.offer(frames[:10])
                await edge.answered(10, 60)
            assert {r["ran"] for r in edge.records()} == {"cloud"}
            (entry,) = cloud.logged("connection closed by us")
            assert "this is no Cleave peer" in entry["reason"]

    asyncio.run(scenario())


def throw_garbage(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as garbage:
        garbage.settimeout(10)
        try:
            garbage.sendall(os.urandom(1_000_000))
            assert garbage.recv(1) == b""
        except (ConnectionResetError, BrokenPipeError):
            pass


def test_a_truncated_image_is_a_record_and_the_run_goes_on(tmp_path: Path, frames: list[Path]) -> None:
    """A truncated JPEG and a text file give records with the error, from the edge and from the cloud alike."""
    torn = tmp_path / "frame-torn.jpg"
    torn.write_bytes(frames[0].read_bytes()[:1500])
    text = tmp_path / "notes.txt"
    text.write_text("no image\n" * 100)

    async def scenario() -> None:
        async with make_cloud(tmp_path, free_port()) as cloud:
            await cloud.listening()
            for plan in ("edge-only", "cloud-only"):
                edge = Edge(
                    tmp_path, name=plan, cloud=cloud.address, CLEAVE_EDGE_PLAN=plan, **{**SAME_MODEL, **QUICK}
                )
                async with edge:
                    if plan == "cloud-only":
                        await edge.until("plan", lambda e=edge: uses_cloud(e), 60)
                    edge.offer([frames[1], torn, text, frames[2]])
                    await edge.answered(4, 60)
                errors = {r["name"]: r["error"] for r in edge.records()}
                assert errors["frame-001.jpg"] is None
                assert errors["frame-002.jpg"] is None
                assert "truncated" in errors["frame-torn.jpg"]
                assert "not a readable image" in errors["notes.txt"]
                logs_only(edge.log)

    asyncio.run(scenario())


def test_a_fixed_plan_may_change_by_its_file(tmp_path: Path, frames: list[Path]) -> None:
    """`@FILE` fixes the cut the file names; another name in it moves the cut, without a restart."""
    plan = tmp_path / "plan"
    plan.write_text("after features.5\n")

    async def scenario() -> None:
        async with make_cloud(tmp_path, free_port()) as cloud:
            await cloud.listening()
            async with make_edge(tmp_path, cloud.address, CLEAVE_EDGE_PLAN=f"@{plan}") as edge:
                for count, label in ((3, "after features.5"), (6, "cloud-only"), (9, "edge-only")):
                    plan.write_text(label)
                    await edge.until(label, lambda to=label: edge.cut == to, 60)
                    edge.offer(frames[count - 3 : count])
                    await edge.answered(count, 60)
                    assert {r["plan"]["cut"] for r in edge.records()[-3:]} == {label}

    asyncio.run(scenario())


def test_overload_is_told(tmp_path: Path, frames: list[Path]) -> None:
    """A sampling rate that no cut keeps: the rate that can be sustained is in log, status and results."""

    async def scenario() -> None:
        async with make_cloud(tmp_path, free_port()) as cloud:
            await cloud.listening()
            async with make_edge(tmp_path, cloud.address, CLEAVE_EDGE_SAMPLING_FPS=5000) as edge:
                edge.offer(frames[:1])
                await edge.planned(60)
                edge.offer(frames[1:40])
                await edge.answered(40, 60)
                assert edge.status()["plan"]["mode"] == "overloaded"
                sustained = edge.status()["plan"]["sustainable_fps"]
                assert 0 < sustained < 5000
            (warning,) = edge.logged("overloaded: no cut keeps the sampling rate")
            assert 0 < warning["sustainable_fps"] < 5000
            told = [r["plan"] for r in edge.records() if r["plan"]["mode"] == "overloaded"]
            assert told
            assert all(0 < plan["sustainable_fps"] < 5000 for plan in told)

    asyncio.run(scenario())


def test_ctrl_c_ends_both_with_nothing_but_logs(tmp_path: Path, frames: list[Path]) -> None:
    """SIGINT in mid-run: both daemons exit with status 0, and their output holds logs only."""

    async def scenario() -> None:
        async with make_cloud(tmp_path, free_port()) as cloud:
            await cloud.listening()
            async with make_edge(tmp_path, cloud.address, CLEAVE_EDGE_SLOWDOWN=20) as edge:
                edge.offer(frames)
                await edge.answered(10, 60)
                assert await edge.stop(timeout_s=20) == 0
            assert await cloud.stop(timeout_s=20) == 0
        logs_only(edge.log)
        logs_only(cloud.log)
        assert edge.logged("stopped")
        assert cloud.logged("stopped")

    asyncio.run(scenario())
