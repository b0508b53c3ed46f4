"""What the tests that count memory share."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator

import pytest


@pytest.fixture
def traced() -> Iterator[None]:
    """Have every allocation counted, numpy's too."""
    gc.collect()
    tracemalloc.start()
    yield
    tracemalloc.stop()
