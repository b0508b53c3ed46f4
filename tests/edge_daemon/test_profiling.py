"""Facts about how an edge comes by both profiles, with a cloud in the same process."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from common.profile import Profile, ProfileKey
from edge_daemon import profiling
from tests.cloud_daemon.edge import cloud
from tests.edge_daemon.site import Site, going, hurry_daemon
from tests.event_loop import run, until
from tests.tiny_model import tiny_model

GRAPH = tiny_model().graph
KEY = ProfileKey(tiny_model().fingerprint, "a device", "torch", 1, 1.0, "40x30")


@pytest.mark.parametrize(
    "profile",
    [
        Profile(replace(KEY, fingerprint=tiny_model(1).fingerprint), dict.fromkeys(GRAPH.names, 1.0)),
        Profile(KEY, dict.fromkeys(GRAPH.names[1:], 1.0)),
        Profile(KEY, dict.fromkeys((*GRAPH.names, "surplus"), 1.0)),
        Profile(KEY, dict.fromkeys(GRAPH.names, 1e308)),
    ],
    ids=["another model", "a unit missing", "a unit too many", "an infinite sum"],
)
def test_a_profile_that_is_not_this_models_is_not_planned_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], profile: Profile
) -> None:
    """A cloud that tells nonsense of its costs does not end the edge; it is asked again, and believed then."""
    hurry_daemon(monkeypatch)
    monkeypatch.setattr(profiling, "BAD_PROFILE_RETRY_S", 0.02)
    site = Site(tmp_path)
    site.put(0)

    async def main() -> None:
        async with cloud(tmp_path / "cloud") as rack:
            measure = rack.pool.profile

            async def foreign(frame: bytes) -> Profile:
                monkeypatch.setattr(rack.pool, "profile", measure)
                return profile

            monkeypatch.setattr(rack.pool, "profile", foreign)
            async with going(site.daemon(rack.address, when_drained="wait")):
                await until(lambda: site.status.get("profiled") is True)
            assert capsys.readouterr().out.count("the cloud's profile is of no use") == 1

    run(main())
