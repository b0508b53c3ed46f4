"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("cleave", deadline=None)  # a busy machine is no reason to fail
settings.load_profile("cleave")
