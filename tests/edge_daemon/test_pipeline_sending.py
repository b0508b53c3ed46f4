"""Facts about what frames are sent as, and when they had better not be sent."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from common.errors import RemoteProtocolError
from common.plan import Cut, Mode
from edge_daemon import active_plan
from edge_daemon.active_plan import ActivePlan
from edge_daemon.pipeline import late_s
from tests.edge_daemon.bench import bench
from tests.edge_daemon.pipeline_line import (
    GRAPH,
    SPLIT,
    Line,
    assert_right,
    frames,
)
from tests.event_loop import run


def test_tensors_cross_by_the_codecs_of_the_plan() -> None:
    """The cloud gets them so, answers as if they were raw where nothing is lost, and the lengths are made known."""

    async def main() -> None:
        with bench() as tiny:
            cut = Cut.of(GRAPH, SPLIT.edge_units, {"first": "zstd", "second": "f16"})
            line = Line(tiny, await tiny.plan(cut))
            (record,) = await line.give(frames(1))
            assert_right(record)
            assert record.cut == "after first as zstd + second as f16"
            assert [(unit, codec) for unit, codec, _ in line.controller.sent] == [
                ("first", "zstd"),
                ("second", "f16"),
            ]
            sent = sum(nbytes for _, _, nbytes in line.controller.sent)
            assert sent <= record.bytes_up < 1.1 * sent + 64
            assert line.controller.transfers == [(record.bytes_up, record.durations.link_ms)]
            assert record.durations.encode_ms is not None

    run(main())


def test_a_tensor_that_cannot_be_sent_is_finished_on_the_edge(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is too large for the wire is no fault of the frame's: the edge has all it needs."""

    def refuse(*_: object) -> None:
        raise RemoteProtocolError("tensor of unit 1: 72000000 bytes, the limit is 67108864")

    async def main() -> None:
        with bench() as tiny:
            line = Line(tiny, await tiny.plan(SPLIT))
            monkeypatch.setattr(active_plan, "to_wire", refuse)
            (record,) = await line.give(frames(1))
            assert_right(record)
            assert record.ran == "edge after cloud"
            assert record.fallback is not None
            assert "72000000 bytes" in record.fallback

    run(main())


def with_edge_only(active: ActivePlan, edge_only_ms: float | None, mode: Mode = Mode.LIGHT) -> ActivePlan:
    return replace(active, plan=replace(active.plan, edge_only_ms=edge_only_ms, mode=mode))


def test_frames_do_not_queue_behind_one_that_is_late() -> None:
    """While a frame waits far longer than predicted, the next ones are finished on the edge, each with its answer."""

    async def main() -> None:
        with bench() as tiny:
            line = Line(tiny, with_edge_only(await tiny.plan(SPLIT), 50.0))
            line.uplink.longest_wait_s = 0.2
            (late,) = await line.give(frames(1))
            assert_right(late)
            assert late.ran == "edge after cloud"
            assert late.fallback == "a frame has waited 0.20 s for its answer"
            line.uplink.longest_wait_s = 0.01
            line.records.clear()
            records = await line.give(frames(2))
            assert [record.ran for record in records] == ["split", "split"]

    run(main())


def test_a_wait_is_late_when_it_is_beyond_the_plan_and_the_edge_is_quicker() -> None:
    """Twice the predicted latency, or what the edge alone takes, whichever is more; never where nothing is known,
    nor under a plan for throughput, where frames wait in line by design."""

    async def main() -> None:
        with bench() as tiny:
            active = await tiny.plan(SPLIT)  # predicted at 3 ms
            assert late_s(with_edge_only(active, 1.0)) == pytest.approx(0.006)
            assert late_s(with_edge_only(active, 400.0)) == pytest.approx(0.4)
            assert late_s(with_edge_only(active, 1.0, Mode.HEAVY)) == pytest.approx(0.024)
            assert late_s(with_edge_only(active, None)) == math.inf
            for mode in (Mode.DRAIN, Mode.OVERLOADED, Mode.PINNED):
                assert late_s(with_edge_only(active, 1.0, mode)) == math.inf

    run(main())
