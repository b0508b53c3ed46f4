"""Facts about what a Raspberry Pi's firmware is asked, and by which way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from common import pi_firmware as module
from common.pi_firmware import parse_vcgencmd, read_throttled, throttling_of, throttling_since_boot


def test_the_low_bits_say_what_is_so_now() -> None:
    """The high ones, what has been, are not told."""
    assert throttling_of(0x0) == dict.fromkeys(module.THROTTLING, False)
    assert throttling_of(0x50005) == {
        "undervoltage": True,
        "frequency_capped": False,
        "throttled": True,
        "temperature_limited": False,
    }


def test_the_high_bits_say_what_has_been_so() -> None:
    """Since the machine was switched on."""
    assert throttling_since_boot(0x50000) == throttling_of(0x5)


@pytest.mark.parametrize("text", ["", "throttled=", "throttled=yes", "error=1", "VCHI initialization failed"])
def test_what_the_command_does_not_say_is_not_known(text: str) -> None:
    """No guess is made."""
    assert parse_vcgencmd(text) is None


def test_the_kernel_is_asked_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It prints the bits in hexadecimal; a service can read that, and has no device for the command."""
    told = tmp_path / "get_throttled"
    told.write_text("50005\n")
    monkeypatch.setattr(module, "SYSFS", told)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_throttled() == 0x50005


def test_the_command_is_asked_otherwise_and_may_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that answers is believed, one that hangs or fails is given up; without one nothing is known."""
    command = tmp_path / "vcgencmd"
    monkeypatch.setattr(module, "SYSFS", tmp_path / "nothing")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert read_throttled() is None
    for script, told in (("echo throttled=0x4", 4), ("exit 1", None), ("exec sleep 60", None)):
        command.write_text(f"#!/bin/sh\n{script}\n")
        command.chmod(0o755)
        monkeypatch.setattr(module, "VCGENCMD_TIMEOUT_S", 0.3 if "sleep" in script else 5.0)
        assert read_throttled() == told, script
