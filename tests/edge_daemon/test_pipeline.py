"""Facts about the way of a frame: one record for each, whichever way the cloud lets it down."""

from __future__ import annotations

import asyncio
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import CleaveError, FrameError, LinkLostError, PlanError, RemoteProtocolError
from common.plan import Cut
from common.wire.tensors import TensorEntry
from edge_daemon.frames_away import CloudBusyError, CloudFailedError, CloudLateError, Reply
from edge_daemon.patience import Progress
from edge_daemon.results import FrameRecord
from tests.edge_daemon.bench import Bench, bench, frame_of
from tests.edge_daemon.pipeline_line import (
    CLOUD_ONLY,
    EDGE_ONLY,
    SPLIT,
    Infer,
    Line,
    assert_right,
    frames,
    on_edge,
)
from tests.event_loop import run, until
from tests.tiny_model import jpeg


@pytest.mark.parametrize("cut", [EDGE_ONLY, CLOUD_ONLY, SPLIT], ids=lambda cut: cut.label)
def test_every_frame_has_its_answer_wherever_it_ran(cut: Cut) -> None:
    """On the edge, in the cloud or split, the answer is the unsplit model's, and the record says where."""

    async def main() -> None:
        with bench() as tiny:
            line = Line(tiny, await tiny.plan(cut, epoch=9))
            records = await line.give(frames(8))
            assert [record.frame.number for record in records] == list(range(8))
            for record in records:
                assert_right(record)
                assert record.ran == {"edge-only": "edge", "cloud-only": "cloud"}.get(cut.label, "split")
                assert (record.epoch, record.cut, record.mode) == (9, cut.label, "light")
                assert record.fallback is None
                assert (record.bytes_up > 0) == bool(cut.cloud_units)
            assert (line.ledger.counts.answered, line.ledger.counts.seen) == (8, 8)
            assert sorted(line.controller.sizes) == sorted(len(jpeg(i)) for i in range(8))

    run(main())


def test_the_stages_of_answered_frames_tell_how_fast_the_devices_are() -> None:
    """Each answered frame tells its head's and its tail's time, under the plan it ran under."""

    async def main() -> None:
        with bench() as tiny:
            for cut, head, tail in ((SPLIT, True, True), (EDGE_ONLY, True, False), (CLOUD_ONLY, False, True)):
                line = Line(tiny, await tiny.plan(cut))
                records = await line.give(frames(2), lanes=1)
                told = [(plan.cut, edge_ms, tail_ms) for plan, edge_ms, tail_ms in line.controller.stages]
                assert told == [(cut, on_edge(r), r.durations.tail_ms) for r in records]
                for _, head_ms, tail_ms in told:
                    assert (head_ms is not None, tail_ms is not None) == (head, tail)

    run(main())


def test_a_frame_that_fell_back_tells_nothing_of_the_devices() -> None:
    """Its head was run in two pieces, and its tail is not known."""

    async def lost(frame: int, epoch: int, entries: Sequence[TensorEntry], payload: bytes) -> Reply:
        raise LinkLostError("gone")

    async def main() -> None:
        with bench() as tiny:
            line = Line(tiny, await tiny.plan(SPLIT), lost)
            (record,) = await line.give(frames(1))
            assert record.fallback
            assert line.controller.stages == []

    run(main())


def test_a_frame_is_sent_at_the_pace_that_holds_when_it_is() -> None:
    """One that was set with an earlier sample would hold up the first frame of a link that has become faster."""

    async def main() -> None:
        with bench() as tiny:
            line = Line(tiny, await tiny.plan(SPLIT))
            for pace_bps in (6e6, None):
                line.controller.pace_bps = pace_bps
                await line.give(frames(1))
            assert line.uplink.paces_bps == [6e6, None]

    run(main())


def test_durations_say_where_the_time_went() -> None:
    """The link is the round trip less the cloud's own time; what did not happen has no duration."""

    async def main() -> None:
        with bench() as tiny:
            split, edge, cloud = [
                (await Line(tiny, await tiny.plan(cut)).give(frames(1)))[0].durations
                for cut in (SPLIT, EDGE_ONLY, CLOUD_ONLY)
            ]
            assert (split.link_ms, split.tail_ms, split.cloud_queue_ms) == (7.0, 2.0, 0.5)
            assert split.head_ms is not None
            assert 0 < split.head_ms <= split.total_ms
            assert split.encode_ms is not None
            assert (edge.link_ms, edge.tail_ms, edge.encode_ms, edge.cloud_queue_ms) == (None,) * 4
            assert cloud.head_ms is None
            assert min(split.queue_ms, edge.queue_ms, cloud.queue_ms) >= 0

    run(main())


def other_answer(make: Callable[[Bench, int, int], Reply]) -> Callable[[Bench], Infer]:
    def cloud(tiny: Bench) -> Infer:
        async def infer(frame: int, epoch: int, *_: Any) -> Reply:
            return make(tiny, frame, epoch)

        return infer

    return cloud


def raising(error: CleaveError) -> Callable[[Bench], Infer]:
    def cloud(_: Bench) -> Infer:
        async def infer(*_: Any) -> Reply:
            raise error

        return infer

    return cloud


def torn(tiny: Bench, frame: int, epoch: int) -> Reply:
    whole = tiny.reply(frame, epoch, torch.zeros(1, 5, 2, dtype=torch.float64))
    return Reply(whole.answer, whole.payload[:-1], 1.0)


def empty(tiny: Bench, frame: int, epoch: int) -> Reply:
    whole = tiny.reply(frame, epoch, torch.zeros(1, 5, 2, dtype=torch.float64))
    answer = type(whole.answer)(**{**whole.answer.header(), "tensors": ()})
    return Reply(answer, memoryview(b""), 1.0)


LET_DOWN: dict[str, Callable[[Bench], Infer]] = {
    "lost": raising(LinkLostError("gone")),
    "busy": raising(CloudBusyError("the cloud is busy")),
    "failed": raising(CloudFailedError("out of memory")),
    "protocol": raising(RemoteProtocolError("nonsense")),
    "answer torn": other_answer(torn),
    "answer empty": other_answer(empty),
    "answer of another unit": other_answer(
        lambda tiny, frame, epoch: tiny.reply(frame, epoch, torch.zeros(1, 7), "classify")
    ),
    "answer of another type": other_answer(
        lambda tiny, frame, epoch: tiny.reply(frame, epoch, torch.zeros(1, 5, 2))
    ),
    "answer of another shape": other_answer(
        lambda tiny, frame, epoch: tiny.reply(frame, epoch, torch.zeros(0, 5, 2, dtype=torch.float64))
    ),
    "answer of three columns": other_answer(
        lambda tiny, frame, epoch: tiny.reply(frame, epoch, torch.zeros(1, 5, 3, dtype=torch.float64))
    ),
    "no such class": other_answer(
        lambda tiny, frame, epoch: tiny.reply(frame, epoch, torch.full((1, 5, 2), 7.0, dtype=torch.float64))
    ),
}
LET_DOWN_KIND = {way: way if way in ("lost", "busy", "failed") else "protocol" for way in LET_DOWN}


@pytest.mark.parametrize("way", LET_DOWN)
@pytest.mark.parametrize("cut", [CLOUD_ONLY, SPLIT], ids=lambda cut: cut.label)
def test_a_frame_that_the_cloud_lets_down_is_finished_on_the_edge(cut: Cut, way: str) -> None:
    """Whether the link, the cloud or its answer failed: the right answer, once, and the record says why."""

    async def main() -> None:
        with bench() as tiny:
            line = Line(tiny, await tiny.plan(cut), LET_DOWN[way](tiny))
            records = await line.give(frames(3))
            assert len(records) == 3
            for record in records:
                assert_right(record)
                assert record.ran == "edge after cloud"
                assert record.fallback
                assert record.durations.head_ms is not None
            assert line.ledger.counts.answered == 3
            assert line.pipeline.let_down == {LET_DOWN_KIND[way]: 3}

    run(main())


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("way", ["late", "lost"])
def test_a_late_frame_tells_how_far_it_had_come(way: str) -> None:
    """The controller hears of it whether or not the frame has its record by then; of a lost one nobody looked."""
    progress = Progress(delivered_bytes=5, outstanding_bytes=7, waited_s=1.0)
    error = CloudLateError("too late", progress) if way == "late" else LinkLostError("gone")

    async def main() -> None:
        with bench() as tiny:
            line = Line(tiny, await tiny.plan(SPLIT), raising(error)(tiny))
            (record,) = await line.give(frames(1))
            assert_right(record)
            assert line.controller.late == (
                [(line.controller.active.plan, progress)] if way == "late" else []
            )

    run(main())


@pytest.mark.parametrize("cut", [CLOUD_ONLY, SPLIT], ids=lambda cut: cut.label)
def test_a_frame_that_the_cloud_let_down_leaves_nothing_for_the_collector(cut: Cut) -> None:
    """The cloud's error knows where it was raised, and the frame is held there."""

    async def main() -> None:
        with bench() as tiny:
            line = Line(tiny, await tiny.plan(cut), LET_DOWN["answer torn"](tiny))
            frame = frame_of(0, jpeg(0))
            seen = weakref.ref(frame.data.obj)
            await line.give([frame])
            assert line.records.pop().ran == "edge after cloud"
            del frame
            await until(lambda: seen() is None)

    run(main())


def test_a_frame_at_fault_is_a_failed_record_and_no_more() -> None:
    """What is no image fails, here or in the cloud, with its reason; the frames around it do not."""

    async def no_image(*_: Any) -> Reply:
        raise FrameError("frame of 9 bytes: not a readable image")

    async def main() -> None:
        with bench() as tiny:
            bad = [
                frame_of(0, jpeg(0)),
                frame_of(1, b"no image!"),
                frame_of(2, jpeg(2)[: len(jpeg(2)) // 2]),
                frame_of(3, b"", "the file is empty"),
                frame_of(4, jpeg(4)),
            ]
            for cut in (EDGE_ONLY, SPLIT):
                line = Line(tiny, await tiny.plan(cut))
                records = await line.give(bad)
                assert [record.error is None for record in records] == [True, False, False, False, True]
                assert "not a readable image" in str(records[1].error)
                assert "damaged JPEG" in str(records[2].error)
                assert records[3].error == "the file is empty"
                assert {record.ran for record in records[1:4]} == {"nowhere"}
                assert (line.ledger.counts.answered, line.ledger.counts.failed) == (2, 3)
                assert len(line.controller.sizes) == 4, "a frame without data tells no size"
            line = Line(tiny, await tiny.plan(CLOUD_ONLY), no_image)
            (record,) = await line.give([frame_of(0, b"no image!")])
            assert record.error == "frame of 9 bytes: not a readable image"

    run(main())


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.sampled_from(["right", "frame", "plan", *LET_DOWN]), min_size=1, max_size=12),
    st.integers(1, 4),
    st.randoms(use_true_random=False),
)
def test_every_frame_has_exactly_one_record(ways: list[str], lanes: int, rng: Any) -> None:
    """Whatever happens to each frame, in whatever order, there is one record a frame, and the counts add up."""

    async def main() -> None:
        with bench() as tiny:

            async def infer(frame: int, epoch: int, entries: Any, payload: bytes) -> Reply:
                for _ in range(rng.randrange(5)):
                    await asyncio.sleep(0)
                way = ways[frame]
                if way == "frame":
                    raise FrameError("no image")
                if way == "plan":
                    raise PlanError("odd")
                if way == "right":
                    return tiny.reply(frame, epoch, tiny.tail(SPLIT, entries, payload))
                return await LET_DOWN[way](tiny)(frame, epoch, entries, payload)

            line = Line(tiny, await tiny.plan(SPLIT), infer)
            records = await line.give(frames(len(ways)), lanes)
            assert [record.frame.number for record in records] == list(range(len(ways)))
            for way, record in zip(ways, records, strict=True):
                if way in ("frame", "plan"):
                    assert record.error
                else:
                    assert_right(record)
                    assert bool(record.fallback) == (way != "right")
            failed = sum(way in ("frame", "plan") for way in ways)
            assert (line.ledger.counts.answered, line.ledger.counts.failed) == (len(ways) - failed, failed)
            assert line.pipeline.let_down == Counter(LET_DOWN_KIND[way] for way in ways if way in LET_DOWN)
            assert line.uplink.most <= lanes

    run(main())


def test_lanes_overlap_and_one_lane_does_not() -> None:
    """With four lanes four frames are in the cloud at a time; with one, each waits for the one before."""

    async def main() -> None:
        with bench() as tiny:
            for lanes in (4, 1):
                gate = asyncio.Event()

                async def infer(
                    frame: int, epoch: int, entries: Any, payload: bytes, gate: asyncio.Event = gate
                ) -> Reply:
                    await gate.wait()
                    return tiny.reply(frame, epoch, tiny.tail(CLOUD_ONLY, entries, payload))

                line = Line(tiny, await tiny.plan(CLOUD_ONLY), infer)
                task = asyncio.create_task(line.give(frames(6), lanes))
                await until(lambda line=line, lanes=lanes: line.uplink.now == lanes)  # type: ignore[misc]
                assert line.ledger.counts.in_flight == lanes
                gate.set()
                assert len(await task) == 6
                assert line.uplink.most == lanes

    run(main())


def test_a_network_that_fails_on_a_frame_fails_that_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of memory, say: the frame has a failed record, and the next one its answer."""

    async def main() -> None:
        with bench() as tiny:
            active = await tiny.plan(EDGE_ONLY)
            head = active.parts.head
            assert head is not None
            run_segment = head.run

            def fails_once(inputs: Any) -> Any:
                monkeypatch.setattr(head, "run", run_segment)
                raise RuntimeError("out of memory")

            monkeypatch.setattr(head, "run", fails_once)
            first, second = await Line(tiny, active).give(frames(2), lanes=1)
            assert (first.error, first.ran) == ("RuntimeError: out of memory", "nowhere")
            assert_right(second)

    run(main())


def test_lanes_wait_for_their_records() -> None:
    """Results that cannot be written now hold the frames back; none is taken and then lost."""

    async def main() -> None:
        with bench() as tiny:
            line = Line(tiny, await tiny.plan(EDGE_ONLY))
            gate = asyncio.Event()
            waiting: list[FrameRecord] = []

            async def keep(record: FrameRecord) -> None:
                waiting.append(record)
                await gate.wait()
                await line._keep(record)

            line.pipeline._record = keep
            task = asyncio.create_task(line.give(frames(6), lanes=2))
            await until(lambda: len(waiting) == 2)
            assert line.queue.qsize() == 5  # four frames, and the end
            gate.set()
            assert len(await task) == 6

    run(main())


def test_a_frame_keeps_the_plan_it_began_with() -> None:
    """When the plan changes while a frame is in the cloud, its rest runs as its own plan says; the next is new."""

    async def main() -> None:
        with bench() as tiny:
            old, new = await tiny.plan(SPLIT, epoch=1), await tiny.plan(EDGE_ONLY, epoch=2)

            async def infer(*_: Any) -> Reply:
                line.controller.active = new
                raise LinkLostError("gone")

            line = Line(tiny, old, infer)
            first, second = await line.give(frames(2), lanes=1)
            assert_right(first)
            assert_right(second)
            assert (first.epoch, first.cut, first.ran) == (1, SPLIT.label, "edge after cloud")
            assert (second.epoch, second.cut, second.ran) == (2, "edge-only", "edge")

    run(main())


def test_on_a_stop_lanes_end_after_the_frames_they_have() -> None:
    """Frames in work have their record; those still waiting are left for the next start."""

    async def main() -> None:
        with bench() as tiny:
            gate = asyncio.Event()

            async def infer(frame: int, epoch: int, entries: Any, payload: bytes) -> Reply:
                await gate.wait()
                return tiny.reply(frame, epoch, tiny.tail(CLOUD_ONLY, entries, payload))

            line = Line(tiny, await tiny.plan(CLOUD_ONLY), infer)
            task = asyncio.create_task(line.give(frames(10), lanes=2))
            await until(lambda: line.uplink.now == 2)
            line.stop.set()
            gate.set()
            assert [record.frame.number for record in await task] == [0, 1]

    run(main())
