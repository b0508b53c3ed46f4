"""Facts about complaints: what strangers cause is logged, and fills no disk."""

from __future__ import annotations

from structlog.testing import capture_logs

from common.complaints import COMPLAIN_S, Complaints


def test_complaints_do_not_fill_the_disk() -> None:
    """A thousand in a second are one line; the next line says how many were not written."""
    now = 0.0
    complaints = Complaints(lambda: now)
    with capture_logs() as logged:
        for _ in range(1000):
            complaints.say("closed", reason="x")
        now = COMPLAIN_S
        complaints.say("closed", reason="y")
    assert [line.get("unsaid_before") for line in logged] == [None, 999]


def test_one_event_hides_no_other() -> None:
    """Each event has a count of its own: a flood at the door hides no frame that was refused."""
    complaints = Complaints(lambda: 0.0)
    with capture_logs() as logged:
        for _ in range(10):
            complaints.say("closed")
        complaints.say("frame refused")
    assert [line["event"] for line in logged] == ["closed", "frame refused"]
