"""Facts about what is told of the machine."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from common.web import machine as module
from common.web.machine import LOOK_S, Machine, parse_throttled, read_temperatures, read_throttling
from tests.event_loop import run


def test_throttling_is_read_from_the_firmwares_bits() -> None:
    """The low bits say what is so now; the high ones, what has been, are not told."""
    assert parse_throttled("throttled=0x0\n") == dict.fromkeys(module.THROTTLING, False)
    now = parse_throttled("throttled=0x50005\n")
    assert now == {
        "undervoltage": True,
        "frequency_capped": False,
        "throttled": True,
        "temperature_limited": False,
    }


@pytest.mark.parametrize("text", ["", "throttled=", "throttled=yes", "error=1", "VCHI initialization failed"])
def test_what_the_firmware_does_not_say_is_not_known(text: str) -> None:
    """No guess is made."""
    assert parse_throttled(text) is None


def test_vcgencmd_is_asked_and_may_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that answers is believed, one that hangs or fails is given up; without one nothing is known."""
    command = tmp_path / "vcgencmd"
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert read_throttling() is None
    for script, known in (("echo throttled=0x4", True), ("exit 1", False), ("exec sleep 60", False)):
        command.write_text(f"#!/bin/sh\n{script}\n")
        command.chmod(0o755)
        monkeypatch.setattr(module, "VCGENCMD_TIMEOUT_S", 0.3 if "sleep" in script else 5.0)
        began = time.monotonic()
        assert (read_throttling() is not None) is known, script
        assert time.monotonic() - began < 30


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
