"""How this machine is: the process, its temperature, and whether it is throttled. Looked at seldom, in a thread."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import psutil

from common.pi_firmware import read_throttled, throttling_of
from common.web.metric_table import Reading, at, each

LOOK_S = 10.0
"""Temperatures change slowly, and reading them may start a process."""
MOST_SENSORS = 16


class Machine:
    """Remembers what was found when it was last looked at."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        look: Callable[[], dict[str, Any]] | None = None,
    ) -> None:
        self._clock = clock
        self._look = look or look_at_machine
        self._due = clock()
        self._found: dict[str, Any] = {"temperatures_c": {}, "throttling": None}
        self._process = psutil.Process()
        self._began = clock()

    async def refresh(self) -> None:
        """Look again if that is due, off the event loop."""
        now = self._clock()
        if now >= self._due:
            self._due = now + LOOK_S
            self._found = await asyncio.to_thread(self._look)

    def status(self) -> dict[str, Any]:
        """Return what is known. For the event loop only."""
        return {
            **self._found,
            "uptime_s": round(self._clock() - self._began, 1),
            "rss_bytes": self._process.memory_info().rss,
            "open_files": self._process.num_fds(),
            "tasks": len(asyncio.all_tasks()),
            "processors": os.cpu_count(),
            "load_1_min": round(os.getloadavg()[0], 2),
        }


def look_at_machine() -> dict[str, Any]:
    """Read temperatures and throttling; what this machine cannot tell is left out."""
    bits = read_throttled()
    return {
        "temperatures_c": read_temperatures(),
        "throttling": None if bits is None else throttling_of(bits),
    }


def read_temperatures() -> dict[str, float]:
    """Return the highest temperature of each sensor chip, in °C."""
    sensors: Callable[[], Mapping[str, Any]] = getattr(psutil, "sensors_temperatures", dict)
    try:
        chips = sensors()
    except (OSError, ValueError):  # sysfs files that come and go with their drivers
        return {}
    found = {chip: max((entry.current for entry in entries), default=None) for chip, entries in chips.items()}
    told = [(chip, round(float(value), 1)) for chip, value in found.items() if value is not None]
    return dict(sorted(told)[:MOST_SENSORS])


def machine_readings(prefix: str) -> tuple[Reading, ...]:
    """Return the metrics of a daemon's machine and process, beside those that `ProcessCollector` has."""
    return (
        Reading(f"{prefix}_uptime_seconds", "gauge", "Since the daemon began.", at("process", "uptime_s")),
        Reading(f"{prefix}_asyncio_tasks", "gauge", "Tasks of the event loop.", at("process", "tasks")),
        Reading(
            f"{prefix}_temperature_celsius",
            "gauge",
            "Highest temperature of each sensor chip; absent where there is none.",
            each("process", "temperatures_c"),
            ("chip",),
        ),
        Reading(
            f"{prefix}_throttling",
            "gauge",
            "1 where a Raspberry Pi's firmware slows the processor down now; absent on other machines.",
            each("process", "throttling"),
            ("what",),
        ),
    )
