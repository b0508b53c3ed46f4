"""Facts about the cloud's histograms."""

from __future__ import annotations

from prometheus_client import generate_latest

from cloud_daemon.frame_tally import Served
from cloud_daemon.metrics import COUNTED_AT_ONCE, CloudMetrics


def read(metrics: CloudMetrics) -> str:
    metrics.count()
    return generate_latest(metrics.registry).decode()


def test_each_answered_frame_is_observed_once() -> None:
    """Its stages in seconds, and the size of the batch that it ran in; however often they are read."""
    metrics = CloudMetrics()
    for batch in (1, 4, 4, 4, 4):
        metrics.saw(Served(receive_ms=2.0, queue_ms=30.0, run_ms=8.0, batch=batch))
    for text in (read(metrics), read(metrics)):
        assert 'cleave_cloud_stage_seconds_count{stage="queue"} 5.0' in text
        assert 'cleave_cloud_stage_seconds_bucket{le="0.02",stage="queue"} 0.0' in text
        assert 'cleave_cloud_stage_seconds_bucket{le="0.05",stage="queue"} 5.0' in text
        assert 'cleave_cloud_batch_frames_bucket{le="2.0"} 1.0' in text
        assert 'cleave_cloud_batch_frames_bucket{le="4.0"} 5.0' in text


def test_what_is_remembered_is_bounded_and_none_is_missing() -> None:
    """Where nobody reads, frames are counted all the same; the rest when somebody does."""
    metrics = CloudMetrics()
    frames = 2 * COUNTED_AT_ONCE + 3
    for _ in range(frames):
        metrics.saw(Served(receive_ms=2.0, queue_ms=30.0, run_ms=8.0, batch=1))
        assert len(metrics._seen) < COUNTED_AT_ONCE
    assert f"cleave_cloud_batch_frames_count {frames:.1f}" in read(metrics)
