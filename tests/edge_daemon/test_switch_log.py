"""Facts about the log of switches."""

from __future__ import annotations

from typing import Any

from common.plan import Cause, Cut, Mode, Plan, stages_of
from edge_daemon.switch_log import REMEMBERED, SwitchLog
from tests.tiny_model import tiny_model

GRAPH = tiny_model().graph
EDGE, CLOUD = Cut.edge_only(GRAPH), Cut.cloud_only(GRAPH)


def plan(epoch: int, cut: Cut, **more: Any) -> Plan:
    return Plan(
        epoch=epoch, mode=Mode.LIGHT, cut=cut, stages=stages_of(cut, GRAPH.sink), reason="a test", **more
    )


def test_switches_are_counted_by_cause_and_the_first_plan_is_none() -> None:
    """The count is the sum over the causes, each of which is always there."""
    log = SwitchLog()
    log.note(plan(1, EDGE), None)
    assert (log.count, len(log.latest)) == (0, 1)
    log.note(plan(2, CLOUD, cause=Cause.FIRST), EDGE)
    log.note(plan(3, EDGE, cause=Cause.LINK_GONE), CLOUD)
    log.note(plan(4, CLOUD, cause=Cause.FASTER), EDGE)
    log.note(plan(5, EDGE, cause=Cause.LINK_GONE), CLOUD)
    counts = log.as_counts()
    assert set(counts) == set(map(str, Cause))
    assert (counts["link_gone"], counts["faster"], counts["start"]) == (2, 1, 0)
    assert log.count == sum(counts.values()) == 4


def test_the_latest_are_remembered_with_reason_and_numbers() -> None:
    """As the page shows them; older ones are only counted."""
    log = SwitchLog()
    for epoch in range(1, 2 * REMEMBERED):
        log.note(plan(epoch, CLOUD, bandwidth_bps=5e6, cause=Cause.RATE), EDGE)
    assert len(log.latest) == REMEMBERED
    told = log.latest[-1].to_status()
    assert told.pop("at") > 1_700_000_000
    assert told == {
        "epoch": 2 * REMEMBERED - 1,
        "before": "edge-only",
        "cut": "cloud-only",
        "mode": "light",
        "cause": "rate",
        "reason": "a test",
        "bandwidth_bps": 5e6,
    }
