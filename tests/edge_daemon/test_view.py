"""Facts about what the edge shows, with the whole daemon behind it."""

from __future__ import annotations

import json
from pathlib import Path

from prometheus_client import generate_latest

from common.json_text import to_json
from edge_daemon.daemon import EdgeDaemon
from edge_daemon.view import EdgeView, graph_document
from tests.edge_daemon.site import Site
from tests.event_loop import run
from tests.tiny_model import tiny_model


def metrics_of(view: EdgeView) -> dict[str, float]:
    text = generate_latest(view.metrics(view.status())) + generate_latest(view.registry)
    lines = [line.rpartition(" ") for line in text.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def drained(tmp_path: Path, frames: int) -> tuple[EdgeDaemon, Site]:
    site = Site(tmp_path)
    site.put(*range(frames))
    daemons: list[EdgeDaemon] = []

    async def main() -> None:
        daemons.append(site.daemon(plan="edge-only"))
        assert not daemons[0].view.ready().well
        await daemons[0].run()
        assert daemons[0].view.ready().well
        assert daemons[0].view.alive().well
        view = daemons[0].view
        first, news = view.first(), view.news()
        assert first["graph"] == graph_document(tiny_model().graph)
        assert len(first["frames"]) == frames
        assert [switch["epoch"] for switch in first["switches"]] == [1]
        assert first["edge_units"] == list(range(len(tiny_model().graph)))
        assert len(news["frames"]) == frames
        assert view.news()["frames"] == []
        assert await view.picture(None) is not None
        for document in (first, news, view.status()):
            assert json.loads(to_json(document)) is not None
        # The status asks the loop for its tasks, so what follows is looked at here.
        status, told = view.status(), metrics_of(view)
        check_equation(told)
        assert told['cleave_edge_frames_total{outcome="answered"}'] == status["frames"]["answered"] == frames
        assert told['cleave_edge_stage_seconds_count{stage="head"}'] == frames
        assert told['cleave_edge_frame_seconds_count{ran="edge"}'] == frames
        assert told['cleave_edge_plan_mode{mode="pinned"}'] == 1
        assert told["cleave_edge_asyncio_tasks"] >= 1
        assert told["cleave_edge_process_resident_memory_bytes"] > 1e6
        assert "cleave_edge_certificate_days" not in told, "there is none without TLS"

    run(main())
    return daemons[0], site


def check_equation(told: dict[str, float]) -> None:
    """Frames seen are those done with and those on their way: from the metrics alone."""
    done = sum(value for name, value in told.items() if name.startswith("cleave_edge_frames_total{"))
    here = sum(value for name, value in told.items() if name.startswith("cleave_edge_frames_now{"))
    assert told["cleave_edge_frames_seen_total"] == done + here


def test_what_was_answered_is_shown(tmp_path: Path) -> None:
    """Page, metrics and the file tell the same of a run."""
    _, site = drained(tmp_path, 6)
    assert site.status["frames"]["answered"] == 6
    assert site.status["latest"]["name"] == "05.jpg"
    assert site.status["switches"] == 0
