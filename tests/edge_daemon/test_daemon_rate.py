"""Facts about the edge daemon's sampling rate, with a cloud in the same process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cloud_daemon.edge import cloud
from tests.edge_daemon.site import Site, going, hurry_daemon
from tests.event_loop import run, until

FAR_TOO_MANY = 100_000.0


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry_daemon(monkeypatch)


@pytest.mark.parametrize("adapts", [True, False])
def test_an_edge_that_is_overloaded_takes_what_it_can_sustain_if_it_may(tmp_path: Path, adapts: bool) -> None:
    """The plan is made for what was asked for all the same, and the status says why fewer frames are taken."""
    site = Site(tmp_path)
    site.put(0)

    async def main() -> None:
        settings: dict[str, Any] = {
            "sampling_fps": FAR_TOO_MANY,
            "adapt_rate": int(adapts),
            "when_drained": "wait",
        }
        async with cloud(tmp_path / "cloud") as rack, going(site.daemon(rack.address, **settings)):
            await until(lambda: site.status.get("plan", {}).get("mode") == "overloaded")
            if adapts:
                await until(lambda: site.status["sampling"]["fps"] < FAR_TOO_MANY)
            status = site.status
        assert status["sampling"]["asked_fps"] == status["sampling_fps"] == FAR_TOO_MANY
        if adapts:
            assert status["sampling"]["fps"] <= 1.1 * status["plan"]["sustainable_fps"]
            assert status["sampling"]["reason"].startswith("no cut keeps 1e+05 frames/s")
        else:
            assert status["sampling"]["fps"] == FAR_TOO_MANY

    run(main())
