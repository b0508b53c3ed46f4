"""Real daemons that are killed, stopped, and starved of room."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.pair import Daemon
from tests.fork_server import fork


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in Path(item.path).parents:
            item.add_marker(pytest.mark.system)


@pytest.fixture(autouse=True)
def _daemons_are_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save two seconds of importing at each start."""
    monkeypatch.setattr(Daemon, "spawn", staticmethod(fork))
