"""Facts about what the edge shows, with the whole daemon behind it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest

from common.json_text import to_json
from edge_daemon.daemon import EdgeDaemon
from edge_daemon.history import FRAMES
from edge_daemon.metrics import EdgeMetrics
from edge_daemon.status import plan_document
from edge_daemon.view import EdgeView, graph_document
from tests.edge_daemon.records import record
from tests.edge_daemon.test_daemon import Site
from tests.edge_daemon.test_switch_log import CLOUD, EDGE, plan
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


def test_nobody_looking_costs_a_frame_next_to_nothing() -> None:
    """Each frame is observed, appended, and forgotten in time: nothing grows, and no picture is made."""
    metrics = EdgeMetrics()
    for number in range(10 * FRAMES):
        metrics.saw(record(number, ran=("edge", "cloud", "split", "edge after cloud")[number % 4]))
    metrics.saw(record(1, ran="nowhere", error="no image"))
    text = generate_latest(metrics.registry).decode()
    assert f'cleave_edge_frame_seconds_count{{ran="split"}} {2.5 * FRAMES}' in text
    assert f'cleave_edge_stage_seconds_count{{stage="link"}} {10.0 * FRAMES}' in text
    assert 'cleave_edge_frame_seconds_count{ran="nowhere"} 0.0' in text


@pytest.mark.parametrize("cut", [EDGE, CLOUD])
def test_a_plan_is_told_with_its_cut(cut: Any) -> None:
    """What crosses is there with its codec; a rate that is not known is no number."""
    document = plan_document(plan(3, cut, sustainable_fps=math.inf))
    assert document["cut"] == cut.label
    assert document["units"] == {"edge": len(cut.edge_units), "cloud": len(cut.cloud_units)}
    assert document["crossing"] == [{"unit": unit, "codec": "raw"} for unit in cut.crossing]
    assert json.loads(to_json(document))["sustainable_fps"] is None
