"""Facts about the view of a daemon that still loads its model."""

from __future__ import annotations

from prometheus_client import generate_latest

from common.web.view import Starting
from tests.event_loop import run


def test_it_is_alive_not_ready_and_has_nothing_to_show() -> None:
    """But for its process, whose metrics carry the daemon's name."""

    async def main() -> None:
        view = Starting("cloud")
        await view.refresh()
        assert view.alive().well
        assert (view.ready().well, view.ready().says) == (False, "the model is being loaded")
        assert view.status() == {"state": "starting"}
        assert view.first() == view.news() == {}
        assert await view.picture(None) is None
        assert generate_latest(view.metrics(view.status())) == b""
        assert b"cleave_cloud_process_resident_memory_bytes" in generate_latest(view.registry)

    run(main())
