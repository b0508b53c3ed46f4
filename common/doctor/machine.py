"""The machine: interpreter, clock, memory, heat."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from common.doctor.finding import Finding, fail, ok, warn
from common.pi_firmware import read_throttled, throttling_of, throttling_since_boot

OLDEST_PYTHON = (3, 11)
DAY_S = 86_400.0
LEAST_MEMORY_MB = 700
"""torch, the network of a ResNet-18 and onnxruntime with its export take about this much."""
MUCH_SWAPPED_MB = 200
HOT_C = 80.0
"""Where a Raspberry Pi begins to slow down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineFacts:
    """What is seen of the machine. Times are seconds since 1970, temperatures °C; none: nobody can tell."""

    python: tuple[int, int, int]
    bits: int
    now: float
    installed_at: float
    synchronised: bool | None
    available_mb: int
    swapped_mb: int
    temperature_c: float | None
    throttled: int | None


def look_at_machine() -> MachineFacts:
    """Gather the facts."""
    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    return MachineFacts(
        python=sys.version_info[:3],
        bits=64 if sys.maxsize > 2**32 else 32,
        now=time.time(),
        installed_at=Path(__file__).stat().st_mtime,
        synchronised=_synchronised(),
        available_mb=memory.available // 2**20,
        swapped_mb=swap.used // 2**20,
        temperature_c=_hottest_c(),
        throttled=read_throttled(),
    )


def check_machine(facts: MachineFacts) -> list[Finding]:
    """Judge the machine."""
    return [_check_python(facts), _check_clock(facts), _check_memory(facts), *_check_heat(facts)]


def _check_python(facts: MachineFacts) -> Finding:
    version = ".".join(map(str, facts.python))
    if facts.python[:2] < OLDEST_PYTHON:
        return fail(
            "Python", f"{version}; 3.11 or later is needed", "make install-… PYTHON=python3.11, or later"
        )
    if facts.bits < 64:
        return fail(
            "Python",
            f"{version}, {facts.bits} bits; torch is made for 64 bits only",
            "install the 64-bit edition of the operating system",
        )
    return ok("Python", f"{version}, {facts.bits} bits")


def _check_clock(facts: MachineFacts) -> Finding:
    says = datetime.fromtimestamp(facts.now, UTC).strftime("%Y-%m-%d %H:%M UTC")
    behind_days = (facts.installed_at - facts.now) / DAY_S
    if behind_days > 1:
        return fail(
            "clock",
            f"it says {says}, {behind_days:.0f} days before this software was installed: no certificate is valid",
            "timedatectl set-ntp true (or install chrony), and wait until `timedatectl` says that the clock is "
            "synchronised; a machine without a battery forgets the time whenever it is switched off",
        )
    if facts.synchronised is False:
        return warn(
            "clock",
            f"it says {says}, and nothing keeps it right",
            "timedatectl set-ntp true, or install chrony; certificates need the right day",
        )
    return ok("clock", says + (", synchronised" if facts.synchronised else ""))


def _check_memory(facts: MachineFacts) -> Finding:
    if facts.available_mb < LEAST_MEMORY_MB:
        return warn(
            "memory",
            f"{facts.available_mb} MB available; a ResNet-18 takes about {LEAST_MEMORY_MB} MB",
            "end what else runs here, take a smaller model (squeezenet1_1, mobilenet_v3_small), or set "
            "CLEAVE_EDGE_EXECUTOR=torch",
        )
    if facts.swapped_mb > MUCH_SWAPPED_MB:
        return warn(
            "memory",
            f"{facts.available_mb} MB available, {facts.swapped_mb} MB swapped out: frames may wait for the disk",
            "end what else runs here, or set vm.swappiness=1",
        )
    return ok("memory", f"{facts.available_mb} MB available, {facts.swapped_mb} MB swapped out")


def _check_heat(facts: MachineFacts) -> list[Finding]:
    bits = facts.throttled or 0
    now = throttling_of(bits)
    if now.pop("undervoltage") or throttling_since_boot(bits)["undervoltage"]:
        when = "now" if throttling_of(bits)["undervoltage"] else "since it was switched on"
        return [
            warn(
                "power",
                f"under-voltage {when} (firmware says {bits:#x}): the processor slows down",
                "use the machine's own power supply and a short cable",
            )
        ]
    slowed = any(now.values())
    hot = facts.temperature_c is not None and facts.temperature_c >= HOT_C
    told = "" if facts.temperature_c is None else f"{facts.temperature_c:.0f} °C"
    if slowed or hot:
        return [
            warn(
                "heat",
                f"{told or 'hot'}{', slowed down' if slowed else f', {HOT_C:.0f} °C and more slow it down'}",
                "give it a heat sink or a fan; until then the planner moves work to the cloud by itself",
            )
        ]
    return [ok("heat", told)] if told else []


def _synchronised() -> bool | None:
    """Ask whether the kernel's clock is kept right, by whatever program; none where systemd cannot say."""
    try:
        told = subprocess.run(
            ["timedatectl", "show", "--property=NTPSynchronized", "--value"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return {"yes": True, "no": False}.get(told.stdout.strip())


def _hottest_c() -> float | None:
    try:
        told = psutil.sensors_temperatures()
    except (AttributeError, OSError):
        return None
    return max((one.current for sensor in told.values() for one in sensor), default=None)
