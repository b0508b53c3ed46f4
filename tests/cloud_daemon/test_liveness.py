"""Facts about what shows that the cloud's work goes on."""

from __future__ import annotations

from cloud_daemon.liveness import frames_seen, status_line


def test_the_queue_is_busy_while_it_holds_frames_and_moves_when_one_leaves() -> None:
    """With none held there is nothing to do."""
    assert not frames_seen(0, 7, 9.0).busy
    held = frames_seen(2, 7, 9.0)
    assert (held.busy, held.done, held.most_s) == (True, 7, 9.0)


def test_the_status_names_models_edges_and_frames() -> None:
    """In one line."""
    assert status_line(["resnet18"], 1, 40) == "resnet18; 1 edge connected; 40 frames run"
    assert status_line(["resnet18", "vgg16"], 3, 0) == "resnet18, vgg16; 3 edges connected; 0 frames run"
