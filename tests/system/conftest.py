"""Real daemons as processes, on loopback."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.pair import Daemon
from tests.fork_server import fork

MODEL = "squeezenet1_1"
"""The smallest of the classifiers: these tests are about the daemons."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in Path(item.path).parents:
            item.add_marker(pytest.mark.system)


@pytest.fixture(autouse=True)
def _daemons_are_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save two seconds of importing at each start. Those of tests/installed and test_service_manager.py are none."""
    monkeypatch.setattr(Daemon, "spawn", staticmethod(fork))


@pytest.fixture(autouse=True)
def _environment_without_cleave(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("CLEAVE_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def frames(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Sixty small JPEGs, all different."""
    directory = tmp_path_factory.mktemp("frames")
    rng = np.random.default_rng(0)
    paths = []
    for number in range(60):
        coarse = rng.integers(0, 256, size=(12, 16, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((320, 240), Image.Resampling.BICUBIC)
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=85)
        path = directory / f"frame-{number:03d}.jpg"
        path.write_bytes(buffer.getvalue())
        paths.append(path)
    return paths
