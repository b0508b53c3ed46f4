"""Quantities as people write them: bandwidths, read and shown with their unit."""

from __future__ import annotations

import math
import re

_PREFIXES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}

# Bits by the word "bit" in any case; bytes only as B/s with a capital B. A lone "b" and "bps" are refused:
# tc(8) reads "mbps" as megabytes, nearly everybody else as megabits.
_BITS = re.compile(r"([kmg]?)bit(?:/s|ps)?", re.IGNORECASE)
_BYTES = re.compile(r"([kKMG]?)B(?:/s|ps)")
_NUMBER_AND_UNIT = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*(\S*)")


def parse_bandwidth(text: str) -> float:
    """Read a bandwidth such as `20mbit`, `1.5 Mbit/s`, `2.5MB/s` or `0`.

    Returns bits per second; prefixes are decimal (k = 1000).
    Raises ValueError, saying what to write, for anything else: a missing unit, `mbps` (which tc takes for
    megabytes and iperf3 for megabits), a negative number.
    """
    match = _NUMBER_AND_UNIT.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"not a bandwidth: {text!r}; write a number and a unit, such as 20mbit or 2.5MB/s")
    number, unit = float(match[1]), match[2]
    if not math.isfinite(number):
        raise ValueError(f"not a bandwidth: {text!r} is too large")
    if bits := _BITS.fullmatch(unit):
        return number * _PREFIXES[bits[1].lower()]
    if octets := _BYTES.fullmatch(unit):
        return number * _PREFIXES[octets[1].lower()] * 8
    if not unit:
        if number == 0:
            return 0.0
        raise ValueError(f"a bandwidth needs a unit: {text!r}; did you mean {text.strip()}mbit?")
    raise ValueError(
        f"unknown unit {unit!r} in {text!r}; "
        "write bit, kbit, mbit, gbit (per second) or B/s, kB/s, MB/s, GB/s"
    )


def format_bandwidth(rate_bps: float) -> str:
    """Show a bandwidth in bits per second with three digits, such as `20 Mbit/s`.

    What it returns is read back by `parse_bandwidth`, to those three digits.
    Raises ValueError for a rate that is negative or not finite.
    """
    if not (math.isfinite(rate_bps) and rate_bps >= 0):
        raise ValueError(f"a bandwidth is a finite number of bits per second, at least 0, not {rate_bps}")
    rounded = float(f"{rate_bps:.3g}")  # first, so that 999,999 bit/s becomes 1 Mbit/s and not 1000 kbit/s
    for prefix, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if rounded >= scale:
            # Not {:g}: it would show 1234 Gbit/s as 1.23e+03.
            return f"{f'{rounded / scale:.3f}'.rstrip('0').rstrip('.')} {prefix}bit/s"
    return f"{f'{rounded:.6f}'.rstrip('0').rstrip('.')} bit/s"
