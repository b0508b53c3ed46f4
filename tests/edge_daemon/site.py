"""An edge daemon's directories, and daemons on them; without iperf3, and without waits that a test would notice."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from common import limits
from common.config import Address
from edge_daemon import prober, profiling
from edge_daemon.config import EdgeSettings
from edge_daemon.daemon import EdgeDaemon
from models.executor import TorchExecutor
from tests.cloud_daemon.edge import free_port
from tests.edge_daemon.bench import classes_of
from tests.tiny_model import jpeg, tiny_model


def hurry_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure no link, and try again at once."""

    async def measure(host: str, port: int) -> float:
        return 1e8

    monkeypatch.setattr(prober, "measure_bandwidth", measure)
    monkeypatch.setattr(profiling, "RETRY_S", 0.02)
    monkeypatch.setattr(limits, "RECONNECT_FIRST_S", 0.02)


class Site:
    """An edge's directories, and the daemons that are started on them one after another."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.frames = root / "frames"
        self.frames.mkdir()
        self.nobody = Address(host="127.0.0.1", port=free_port())

    def put(self, *numbers: int) -> None:
        for number in numbers:
            (self.frames / f"{number:02d}.jpg").write_bytes(jpeg(number))

    def daemon(self, address: Address | None = None, seed: int = 0, **settings: Any) -> EdgeDaemon:
        environ = {
            "CLEAVE_MODEL": "tests.tiny_model:factory",
            "CLEAVE_WEIGHTS": f"random:{seed}",
            "CLEAVE_EDGE_SOURCE": str(self.frames),
            "CLEAVE_EDGE_RESULTS": str(self.root / "results.jsonl"),
            "CLEAVE_EDGE_CLOUD": str(address or self.nobody),
            "CLEAVE_EDGE_REPLAN_INTERVAL_S": "0.2",
            "CLEAVE_EDGE_STATE_DIR": str(self.root / "state"),
            "CLEAVE_EDGE_WHEN_DRAINED": "exit",
        } | {f"CLEAVE_EDGE_{name.upper()}": str(value) for name, value in settings.items()}
        return EdgeDaemon(EdgeSettings.load(environ), tiny_model(seed), TorchExecutor())

    @property
    def records(self) -> list[dict[str, Any]]:
        path = self.root / "results.jsonl"
        whole = (
            path.read_text().rpartition("\n")[0] if path.exists() else ""
        )  # the last line may be half written
        return [json.loads(line) for line in whole.splitlines()]

    @property
    def status(self) -> dict[str, Any]:
        path = self.root / "state" / "status.json"
        found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return found

    def assert_all_answered(self, count: int) -> None:
        """Every file has exactly one record, and it is the unsplit model's answer."""
        assert sorted(record["name"] for record in self.records) == [f"{i:02d}.jpg" for i in range(count)]
        for record in self.records:
            data = (self.frames / record["name"]).read_bytes()
            assert tuple(top["index"] for top in record["top5"]) == classes_of(data)


@contextlib.asynccontextmanager
async def going(daemon: EdgeDaemon) -> AsyncIterator[EdgeDaemon]:
    task = asyncio.create_task(daemon.run())
    yield daemon
    daemon.stop.set()
    await task
