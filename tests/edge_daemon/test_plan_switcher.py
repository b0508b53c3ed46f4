"""Facts about the plan in force, where a switch needs no other machine."""

from __future__ import annotations

import itertools
from typing import cast

import pytest

from common.plan import Cause, Cut, Mode, Plan, stages_of
from edge_daemon.plan_switcher import PlanSwitcher
from edge_daemon.refused_stages import RefusedStages
from edge_daemon.standby import Standby
from edge_daemon.uplink import Uplink
from tests.edge_daemon.bench import Bench, bench
from tests.edge_daemon.controller_loop import GRAPH, FakeUplink
from tests.edge_daemon.pipeline_line import SPLIT
from tests.event_loop import run

PACKED = Cut.of(GRAPH, SPLIT.edge_units, {"first": "zstd", "second": "f16"})


def plan_of(cut: Cut) -> Plan:
    return Plan(
        epoch=0,
        mode=Mode.LIGHT,
        cut=cut,
        stages=stages_of(cut, GRAPH.sink),
        reason="a test",
        cause=Cause.FASTER,
    )


async def switcher(tiny: Bench) -> tuple[PlanSwitcher, FakeUplink]:
    """A switcher with the edge alone in force, and a cloud that is there."""
    uplink, epochs = FakeUplink(), itertools.count(1)
    refused = RefusedStages()
    standby = Standby(GRAPH, tiny.stages, tiny.compute, cast(Uplink, uplink), epochs, refused)
    plans = PlanSwitcher(
        GRAPH, tiny.stages, tiny.compute, cast(Uplink, uplink), standby, epochs, refused, changed=lambda: None
    )
    await plans.start(Mode.LIGHT, "a test")
    uplink.available = True
    return plans, uplink


def test_other_codecs_need_no_preparing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same stages are in force already, on both sides, under the same epoch: the next frame is sent so."""

    async def main() -> None:
        with bench() as tiny:
            plans, uplink = await switcher(tiny)
            await plans.switch(plan_of(SPLIT))
            before = plans.active
            assert [request.epoch for request in uplink.asked] == [before.plan.epoch]
            monkeypatch.setattr(tiny.stages, "prepare_beside", lambda *_: 1 / 0)
            for cut in (PACKED, SPLIT):
                await plans.switch(plan_of(cut))
                assert plans.active.plan.cut == cut
                assert plans.active.parts is before.parts
                assert plans.active.plan.epoch == before.plan.epoch
            assert len(uplink.asked) == 1
            assert [switch.cut for switch in plans.switches.latest][-2:] == [PACKED.label, SPLIT.label]

    run(main())


def test_without_a_cloud_other_codecs_are_no_plan() -> None:
    """Its stages were ready for a connection that is gone."""

    async def main() -> None:
        with bench() as tiny:
            plans, uplink = await switcher(tiny)
            await plans.switch(plan_of(SPLIT))
            uplink.available = False
            await plans.switch(plan_of(PACKED))
            assert plans.active.plan.cut == SPLIT

    run(main())
