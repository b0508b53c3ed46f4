"""Facts about what is told of the machine."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from common.web.machine import LOOK_S, Machine, read_temperatures
from tests.event_loop import run


def test_each_chip_tells_its_hottest_sensor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drivers that fail, and machines without sensors, tell nothing."""

    def sensors() -> dict[str, Any]:
        entries = [SimpleNamespace(current=41.26), SimpleNamespace(current=55.04)]
        return {"cpu_thermal": entries, "empty": []}

    monkeypatch.setattr(psutil, "sensors_temperatures", sensors, raising=False)
    assert read_temperatures() == {"cpu_thermal": 55.0}

    def broken() -> dict[str, Any]:
        raise OSError("a driver")

    monkeypatch.setattr(psutil, "sensors_temperatures", broken, raising=False)
    assert read_temperatures() == {}
    monkeypatch.delattr(psutil, "sensors_temperatures")
    assert read_temperatures() == {}


def test_the_machine_is_looked_at_seldom() -> None:
    """However often somebody asks; what was found before is told meanwhile."""
    now, looks = 0.0, 0

    def look() -> dict[str, Any]:
        nonlocal looks
        looks += 1
        return {"temperatures_c": {"cpu": 40.0 + looks}, "throttling": None}

    async def main() -> None:
        nonlocal now
        machine = Machine(lambda: now, look)
        for _ in range(5):
            await machine.refresh()
        assert looks == 1
        now = LOOK_S
        await machine.refresh()
        status = machine.status()
        assert status["temperatures_c"] == {"cpu": 42.0}
        assert status["uptime_s"] == LOOK_S
        assert status["rss_bytes"] > 1_000_000
        assert status["open_files"] > 0
        assert status["tasks"] >= 1

    run(main())
