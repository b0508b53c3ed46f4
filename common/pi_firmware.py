"""What a Raspberry Pi's firmware tells of its power and heat: a word of bits; nothing on other machines."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

SYSFS = Path("/sys/devices/platform/soc/soc:firmware/get_throttled")
"""Where the kernel shows it. A service may read this; `vcgencmd` needs a device that its sandbox hides."""
VCGENCMD_TIMEOUT_S = 2.0

THROTTLING: Mapping[str, int] = {
    "undervoltage": 0,
    "frequency_capped": 1,
    "throttled": 2,
    "temperature_limited": 3,
}
"""Bits that say what is so now (Raspberry Pi documentation, `vcgencmd get_throttled`)."""
SINCE_BOOT = 16
"""So many bits further: whether it has been so since the machine was switched on."""


def read_throttled() -> int | None:
    """Return the firmware's bits; none on other machines."""
    try:
        return int(SYSFS.read_text().strip(), 16)
    except (OSError, ValueError):
        return _ask_vcgencmd()


def throttling_of(bits: int) -> dict[str, bool]:
    """Say of each kind of throttling whether it is so now."""
    return {what: bool(bits >> bit & 1) for what, bit in THROTTLING.items()}


def throttling_since_boot(bits: int) -> dict[str, bool]:
    """Say of each kind of throttling whether it has been so since the machine was switched on."""
    return throttling_of(bits >> SINCE_BOOT)


def parse_vcgencmd(text: str) -> int | None:
    """Read `throttled=0x50005`; none for anything else."""
    name, _, number = text.strip().partition("=")
    try:
        return int(number, 16) if name == "throttled" else None
    except ValueError:
        return None


def _ask_vcgencmd() -> int | None:
    command = shutil.which("vcgencmd")
    if command is None:
        return None
    try:
        done = subprocess.run(
            [command, "get_throttled"],
            capture_output=True,
            text=True,
            timeout=VCGENCMD_TIMEOUT_S,
            check=True,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return parse_vcgencmd(done.stdout)
