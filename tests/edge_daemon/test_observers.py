"""Facts about who looks on: none of them can cost a frame."""

from __future__ import annotations

from structlog.testing import capture_logs

from edge_daemon.observers import Observers
from edge_daemon.results import FrameRecord
from tests.edge_daemon.records import record


def test_an_observer_that_fails_is_told_no_more() -> None:
    """It is logged once, and the others hear of every frame."""
    heard: list[int] = []

    def broken(record: FrameRecord) -> None:
        raise ZeroDivisionError("a bug")

    observers = Observers(broken)
    observers.add(lambda record: heard.append(record.frame.number))
    with capture_logs() as logged:
        for number in range(3):
            observers.tell(record(number))
    assert heard == [0, 1, 2]
    assert [line["log_level"] for line in logged] == ["error"]
