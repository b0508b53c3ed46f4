"""Facts about judging the machine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from common.doctor.finding import Verdict
from common.doctor.machine import DAY_S, MachineFacts, check_machine, look_at_machine

NOW = 1_800_000_000.0
HEALTHY = MachineFacts(
    python=(3, 11, 2),
    bits=64,
    now=NOW,
    installed_at=NOW - 9 * DAY_S,
    synchronised=True,
    available_mb=3000,
    swapped_mb=0,
    temperature_c=55.0,
    throttled=0,
)


def test_a_healthy_machine_is_healthy() -> None:
    """Also one that tells nothing of its heat and its clock."""
    assert {finding.verdict for finding in check_machine(HEALTHY)} == {Verdict.OK}
    silent = replace(HEALTHY, temperature_c=None, throttled=None, synchronised=None)
    assert {finding.verdict for finding in check_machine(silent)} == {Verdict.OK}


@pytest.mark.parametrize(
    ("fault", "what", "verdict", "said", "cure"),
    [
        ({"python": (3, 9, 2)}, "Python", "fail", "3.9.2", "PYTHON=python3.11"),
        ({"bits": 32}, "Python", "fail", "32 bits", "64-bit edition"),
        ({"now": 3600.0}, "clock", "fail", "1970-01-01", "set-ntp true"),
        ({"synchronised": False}, "clock", "warn", "nothing keeps it right", "set-ntp true"),
        ({"available_mb": 300}, "memory", "warn", "300 MB available", "squeezenet1_1"),
        ({"swapped_mb": 900}, "memory", "warn", "900 MB swapped out", "vm.swappiness"),
        ({"temperature_c": 84.0}, "heat", "warn", "84 °C", "fan"),
        ({"throttled": 0x4}, "heat", "warn", "slowed down", "fan"),
        (
            {"throttled": 0x50005},
            "power",
            "warn",
            "under-voltage now (firmware says 0x50005)",
            "power supply",
        ),
        ({"throttled": 0x10000}, "power", "warn", "since it was switched on", "power supply"),
    ],
)
def test_each_fault_is_found_with_its_cure(
    fault: dict[str, Any], what: str, verdict: str, said: str, cure: str
) -> None:
    """One at a time; everything else stays well."""
    bad = [finding for finding in check_machine(replace(HEALTHY, **fault)) if finding.cure]
    assert [(finding.what, finding.verdict) for finding in bad] == [(what, verdict)]
    assert said in bad[0].said
    assert cure in bad[0].cure


def test_this_machine_can_be_looked_at() -> None:
    """The facts are real ones."""
    facts = look_at_machine()
    assert facts.python >= (3, 11, 0)
    assert facts.available_mb > 0
    assert facts.installed_at < facts.now
