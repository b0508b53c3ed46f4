"""Facts about the cloud's histograms."""

from __future__ import annotations

from prometheus_client import generate_latest

from cloud_daemon.frame_tally import Served
from cloud_daemon.metrics import CloudMetrics


def test_each_answered_frame_is_observed_once() -> None:
    """Its stages in seconds, and the size of the batch that it ran in."""
    metrics = CloudMetrics()
    for batch in (1, 4, 4, 4, 4):
        metrics.saw(Served(receive_ms=2.0, queue_ms=30.0, run_ms=8.0, batch=batch))
    text = generate_latest(metrics.registry).decode()
    assert 'cleave_cloud_stage_seconds_count{stage="queue"} 5.0' in text
    assert 'cleave_cloud_stage_seconds_bucket{le="0.02",stage="queue"} 0.0' in text
    assert 'cleave_cloud_stage_seconds_bucket{le="0.05",stage="queue"} 5.0' in text
    assert 'cleave_cloud_batch_frames_bucket{le="2.0"} 1.0' in text
    assert 'cleave_cloud_batch_frames_bucket{le="4.0"} 5.0' in text
