"""Profiles that cannot be measured with some frames."""

from __future__ import annotations

import pytest

from models.profiler import ProfileRun


def profiling_fails(monkeypatch: pytest.MonkeyPatch, frame: str, error: Exception) -> None:
    """Have each step of a profile for frames of this size raise `error`."""
    step = ProfileRun.step

    def fail(self: ProfileRun) -> bool:
        if self.key.frame == frame:
            raise error
        return step(self)

    monkeypatch.setattr(ProfileRun, "step", fail)
