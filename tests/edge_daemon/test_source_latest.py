"""Facts about a source of which the latest frame counts: the newest is read, the others are passed over."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from edge_daemon import source as module
from tests.edge_daemon.source_run import Run, VirtualTime, names, put
from tests.event_loop import run


def test_only_the_newest_is_taken_where_the_latest_counts(tmp_path: Path) -> None:
    """Of all that is there when it looks the newest by time is read; the others are counted as passed over."""
    for age, name in enumerate(("c.jpg", "a.jpg", "b.jpg")):
        put(tmp_path, name)
        os.utime(tmp_path / name, (1000.0 - age, 1000.0 - age))

    async def main() -> None:
        source = Run(tmp_path, latest_only=True)
        frames = await source.to_the_end()
        assert names(frames) == ["c.jpg"]
        assert source.ledger.counts.dropped_stale == 2

    run(main())


def test_the_newest_is_looked_for_when_the_next_frame_is_due(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a sampling rate, what came in the period's course is passed over, not kept for the next one."""
    put(tmp_path, "0.jpg")
    clock = VirtualTime(monkeypatch)
    waited = module._set_within

    async def wait(event: asyncio.Event, seconds: float) -> bool:
        if clock.now < 1000.5:
            for name in ("1.jpg", "2.jpg"):
                put(tmp_path, name)
                os.utime(tmp_path / name, (clock.now + 2e9, clock.now + 2e9 + int(name[0])))
        return await waited(event, seconds)

    monkeypatch.setattr(module, "_set_within", wait)

    async def main() -> None:
        source = Run(tmp_path, latest_only=True, sampling_fps=2.0)
        frames = await source.to_the_end()
        assert names(frames) == ["0.jpg", "2.jpg"]
        assert frames[1].seen_at - frames[0].seen_at == pytest.approx(0.5)

    run(main())
