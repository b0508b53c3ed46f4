"""Facts about the edge's histograms."""

from __future__ import annotations

from prometheus_client import generate_latest

from edge_daemon.metrics import EdgeMetrics
from tests.edge_daemon.records import record

FRAMES = 640


def test_each_stage_of_an_answered_frame_is_observed_once() -> None:
    """In seconds, by where the frame ran; a frame that failed has no times, and nothing else grows."""
    metrics = EdgeMetrics()
    for number in range(FRAMES):
        metrics.saw(record(number, ran=("edge", "cloud", "split", "edge after cloud")[number % 4]))
    metrics.saw(record(1, ran="nowhere", error="no image"))
    text = generate_latest(metrics.registry).decode()
    assert f'cleave_edge_frame_seconds_count{{ran="split"}} {FRAMES / 4}' in text
    assert f'cleave_edge_stage_seconds_count{{stage="link"}} {float(FRAMES)}' in text
    assert 'cleave_edge_stage_seconds_bucket{le="0.005",stage="link"} 0.0' in text
    assert f'cleave_edge_stage_seconds_bucket{{le="0.01",stage="link"}} {float(FRAMES)}' in text
    assert 'cleave_edge_frame_seconds_count{ran="nowhere"} 0.0' in text
