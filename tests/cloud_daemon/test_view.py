"""Facts about what the cloud shows, with a real server behind it."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest

from cloud_daemon.config import CloudSettings
from cloud_daemon.daemon import keep_status
from cloud_daemon.view import CloudView
from common.status_file import StatusFile
from common.wire.receive_ledger import ReceiveLedger
from models.cuda_executor import CudaExecutor
from models.executor import TorchExecutor
from tests.cloud_daemon.edge import SPLIT, Blocked, Cloud, cloud, crossing
from tests.event_loop import run, until
from tests.models.fake_cuda import FakeCuda
from tests.tiny_model import jpeg

SETTINGS = CloudSettings.load({"CLEAVE_MODEL": "tests.tiny_model:factory"})
EVIL = "</script><script>alert(1)</script>"


def view_of(rack: Cloud, executor: TorchExecutor | None = None) -> CloudView:
    view = CloudView(SETTINGS, rack.server, executor or TorchExecutor(), ReceiveLedger(10**9))
    view.address = rack.address
    return view


def has_gpu(view: CloudView) -> bool:
    return view.status()["gpu"] is not None


def metrics_of(view: CloudView) -> dict[str, float]:
    text = generate_latest(view.metrics(view.status())) + generate_latest(view.registry)
    lines = [line.rpartition(" ") for line in text.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def test_edges_frames_and_batches_are_told(tmp_path: Path) -> None:
    """Names are told as they were given, whatever they are; the counts add up in status and metrics."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            view = view_of(rack)
            assert view.status()["edges"] == []
            edge = await rack.greeted(edge=EVIL)
            await edge.prepares()
            for number in range(3):
                edge.infers(number, crossing(SPLIT, jpeg(number)))
                await edge.answer()
            status, told = view.status(), metrics_of(view)
            (row,) = status["edges"]
            assert (row["name"], row["answered"], row["in_flight"], row["tls"]) == (EVIL, 3, 0, False)
            assert row["model"] == rack.pool.model.name
            assert status["frames"] | {"received": 3, "answered": 3} == status["frames"]
            assert status["batches"]["frames_by_size"] == {"1": 3}
            assert status["channel"].startswith("INSECURE")
            assert status["listen"] == str(rack.address)
            assert status["models"][0]["units"] == len(rack.pool.model.graph)
            assert json.dumps(status, allow_nan=False)
            done = sum(value for name, value in told.items() if name.startswith("cleave_cloud_frames_total{"))
            assert (
                told["cleave_cloud_frames_received_total"]
                == done + told["cleave_cloud_frames_in_flight"]
                == 3
            )
            assert told['cleave_cloud_stage_seconds_count{stage="tail"}'] == 3
            assert told["cleave_cloud_batch_frames_count"] == 3
            assert told["cleave_cloud_edges"] == 1
            assert told["cleave_cloud_busy_seconds_total"] > 0
            assert not [name for name in told if EVIL in name], "an edge's name is no label"

    run(main())


def test_health_is_told_while_frames_wait(tmp_path: Path) -> None:
    """A thread that is busy for a moment is alive, and so is whoever asks; a frame that waits is shown."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            view = view_of(rack)
            edge = await rack.greeted()
            await edge.prepares()
            async with Blocked(rack):
                edge.infers(1, crossing(SPLIT, jpeg()))
                await until(lambda: view.status()["queue"]["waiting"] == 1)
                assert view.alive().well
                assert view.status()["edges"][0]["in_flight"] == 1
            await edge.answer()
            assert view.status()["queue"] == {"waiting": 0, "held": 0, "places": 64}

    run(main())


def test_it_is_ready_as_long_as_edges_can_connect(tmp_path: Path) -> None:
    """Not before it listens, and no more when it shuts down."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            view = view_of(rack)
            assert view.ready().well
            view.address = None
            assert not view.ready().well
            assert view.status()["listen"] is None
            assert await view.picture(None) is None

    run(main())


def test_the_gpus_memory_is_asked_for_where_there_is_one(tmp_path: Path) -> None:
    """By the compute thread, as nobody else speaks to the device; a CPU has none to tell of."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            for executor in (TorchExecutor(), CudaExecutor(FakeCuda())):
                view = view_of(rack, executor)
                await view.refresh()
                await rack.pool.compute.run(lambda: None)
                memory = executor.device_memory()
                if memory is None:
                    assert view.status()["gpu"] is None
                    continue
                await until(partial(has_gpu, view))
                assert view.status()["gpu"] == {"free_bytes": memory[0], "total_bytes": memory[1]}
                assert metrics_of(view)["cleave_cloud_gpu_memory_total_bytes"] == memory[1]

    run(main())


def test_the_status_is_kept_in_a_file(tmp_path: Path) -> None:
    """Written at once and again and again; it is what the page's `/status` says."""

    async def main() -> None:
        async with cloud(tmp_path / "state") as rack:
            view = view_of(rack)
            file = StatusFile(tmp_path, "CLEAVE_CLOUD_STATE_DIR")
            task = asyncio.create_task(keep_status(view, file, interval_s=0.01))
            await rack.greeted(edge="porch")

            def read() -> dict[str, Any]:
                document: dict[str, Any] = json.loads(file.path.read_text())
                return document

            await until(lambda: file.path.exists() and len(read()["edges"]) == 1)
            assert read().keys() == view.status().keys()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    run(main())


def test_the_past_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour of points is a quarter of an hour's."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            view = view_of(rack)
            now = 1_700_000_000.0
            for _ in range(3600):
                now += 1
                monkeypatch.setattr("cloud_daemon.view.time.time", lambda now=now: now)
                view.note_point()
            monkeypatch.undo()
            assert len(view.first()["points"]) == 900

    run(main())
