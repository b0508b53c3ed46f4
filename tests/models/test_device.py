"""Facts about the choice of a device."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from common.errors import ConfigurationError
from models.device import make_executor


def test_auto_takes_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` never fails; `cuda` without CUDA says what to do."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert make_executor("auto").device == "cpu"
    with pytest.raises(ConfigurationError, match="finds no CUDA device; install a CUDA build"):
        make_executor("cuda")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"device": "tpu"}, "expected auto, cpu, cuda or cuda:NUMBER"),
        ({"device": "cuda:x"}, "expected auto"),
        ({"device": "cpu:1"}, "expected auto"),
        (
            {"device": "cpu", "precision": "float16"},
            "precision float16 is for CUDA, and the device is the CPU",
        ),
        ({"device": "cpu", "threads": -1}, "threads is -1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(arguments: dict[str, Any], reason: str) -> None:
    """A wrong device, and half precision where it is not for, are the operator's to mend."""
    with pytest.raises(ConfigurationError, match=reason):
        make_executor(**arguments)


def test_a_device_that_is_not_there_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigurationError, match="there are 2 CUDA devices"):
        make_executor("cuda:2")
