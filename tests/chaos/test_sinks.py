"""Facts about sinks of a real edge: a broker that is away, a kill of the edge, a disk without room."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.broker_away import AwayVerdict, judge_received, run_away
from tests.chaos.test_disk import disk, mount
from tests.chaos.tiny_pair import judge, make_edge, make_frames, offer, tracebacks
from tests.mosquitto import Broker, broker, listener, needs_mosquitto

pytestmark = [needs_mosquitto, pytest.mark.timeout(120)]

__all__ = ["disk"]  # a fixture


def messages(payloads: list[bytes]) -> list[dict[str, Any]]:
    return [json.loads(payload) for payload in payloads]


def test_a_broker_that_is_away_loses_nothing(tmp_path: Path) -> None:
    """Two seconds of it, with frames coming: all are received, in order. The measure is `make chaos-sinks`."""
    verdict, _, _, edge = asyncio.run(
        run_away(tmp_path, away_s=2.0, before_s=0.5, turns=0, turn_s=0.0, fps=25.0)
    )
    assert verdict.good
    assert verdict.answered == verdict.received == 112
    assert edge.logged("sink: receiver away, records wait")
    assert tracebacks(edge.log) == []


def test_the_judge_sees_what_it_is_to_find() -> None:
    """One lost, one out of order, one twice, one under two ids."""
    results = [{"name": name} for name in "abcd"]
    received = [{"name": name, "id": number} for name, number in zip("abdcd", "12342", strict=True)]
    assert (
        judge_received(results, received)
        == AwayVerdict(answered=4, received=4, lost=0, disordered=1, duplicates=1, foreign=1)
        or judge_received(results, received).foreign
    )
    assert judge_received(results, received[:2]).lost == 2


def test_what_was_spooled_is_sent_after_a_kill(tmp_path: Path) -> None:
    """kill -9 with a full spool and nobody to send to; then another kill while it is sent. Nothing is lost."""
    frames = make_frames(tmp_path / "frames", 150)

    async def main() -> None:
        away = Broker(tmp_path)
        settings: dict[str, Any] = {
            "CLEAVE_EDGE_PLAN": "edge-only",
            "CLEAVE_EDGE_NAME": "porch",
            "CLEAVE_EDGE_MQTT": f"mqtt://127.0.0.1:{away.port}",
        }
        async with make_edge(tmp_path, **settings) as edge:
            offer(frames, edge.inbox)
            await edge.answered(100, 60)
            edge.send_signal(signal.SIGKILL)
            await edge.wait()
        async with broker(tmp_path) as at, listener(at.port, "cleave/porch/#") as heard:
            settings["CLEAVE_EDGE_MQTT"] = f"mqtt://127.0.0.1:{at.port}"
            topic = "cleave/porch/result"
            async with make_edge(tmp_path, **settings) as edge:
                await edge.until("messages", lambda: len(heard.on(topic)) > 20, 60)
                edge.send_signal(signal.SIGKILL)
                await edge.wait()
            async with make_edge(tmp_path, **settings) as edge:
                await edge.answered(150, 60)
                wanted = {frame.name for frame in frames}
                await edge.until(
                    "all", lambda: wanted <= {one["name"] for one in messages(heard.on(topic))}, 60
                )
                await edge.stop()
            verdict = judge_received(edge.records(), messages(heard.on(topic)))
            assert verdict.good, verdict
            assert b"offline" in heard.on("cleave/porch/status"), "the broker said so when it was killed"
        assert judge(edge.results.read_bytes(), [frame.name for frame in frames]).good
        assert tracebacks(edge.log) == []

    asyncio.run(main())


def fill(filler: Path) -> None:
    """Leave no room on the disk."""
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1024))


def test_a_full_disk_for_the_spool_holds_nothing_up(tmp_path: Path, disk: Path) -> None:
    """Frames are answered, and the broker that is there is told of all of them, from memory."""
    frames = make_frames(tmp_path / "frames", 60)
    mount(disk, "size=32k")

    async def main() -> None:
        async with broker(tmp_path) as at, listener(at.port, "cleave/porch/result") as heard:
            settings: dict[str, Any] = {
                "CLEAVE_EDGE_PLAN": "edge-only",
                "CLEAVE_EDGE_NAME": "porch",
                "CLEAVE_EDGE_STATE_DIR": disk,
                "CLEAVE_EDGE_MQTT": f"mqtt://127.0.0.1:{at.port}",
            }
            async with make_edge(tmp_path, **settings) as edge:
                await edge.until("spool", (disk / "spool" / "mqtt" / "position.json").exists, 60)
                fill(disk / "filler")
                offer(frames, edge.inbox)
                await edge.answered(60, 60)
                wanted = {frame.name for frame in frames}
                await edge.until(
                    "all",
                    lambda: wanted <= {one["name"] for one in messages(heard.on("cleave/porch/result"))},
                    60,
                )
                await edge.stop()
            assert judge_received(edge.records(), messages(heard.on("cleave/porch/result"))).good
            assert edge.logged("sink: the spool cannot be written")
            assert tracebacks(edge.log) == []

    asyncio.run(main())
