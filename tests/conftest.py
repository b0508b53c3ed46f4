"""What holds for all tests."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("cleave", deadline=None)  # a busy machine is no reason to fail
settings.load_profile("cleave")


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Have only what nobody refers to die, at once: circles would stay, and be seen."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()
