"""Facts about what frames are sent as, and when they had better not be sent."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest
import torch

from common.errors import LinkLostError, RemoteProtocolError, RunCancelledError
from common.plan import Cut, Mode
from common.wire.tensors import TensorEntry
from edge_daemon import active_plan
from edge_daemon.active_plan import ActivePlan
from edge_daemon.frames_away import Reply
from edge_daemon.patience import Progress
from models.cancel_token import CancelToken
from models.executor import CompiledSegment
from models.segment import Segment
from tests.edge_daemon.bench import bench
from tests.edge_daemon.pipeline_line import (
    GRAPH,
    SPLIT,
    Line,
    assert_right,
    frames,
)
from tests.event_loop import run, until


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


def test_a_frame_is_not_sent_behind_bytes_that_take_longer_than_the_edge() -> None:
    """It is finished by the edge, with the right answer; once the link is free, frames are sent again."""

    async def main() -> None:
        with bench() as tiny:
            active = with_edge_only(await tiny.plan(SPLIT), 50.0)
            line = Line(tiny, replace(active, plan=replace(active.plan, bandwidth_bps=1e6)))
            line.uplink.on_the_line = Progress(delivered_bytes=0, outstanding_bytes=100_000, waited_s=0.0)
            (first,) = await line.give(frames(1))
            assert_right(first)
            assert first.ran == "edge after cloud"
            assert first.fallback == "100000 bytes are on the link before this frame's"
            line.uplink.on_the_line = None
            line.records.clear()
            (second,) = await line.give(frames(1))
            assert second.ran == "split"

    run(main())


@pytest.mark.parametrize("answers", [True, False])
def test_a_frame_that_the_edge_has_begun_is_sent_once_the_link_is_free(answers: bool) -> None:
    """The cloud's answer counts if it comes first; if none comes, the edge goes on to its own."""

    async def main() -> None:
        with bench() as tiny:
            begun, gone = threading.Event(), threading.Event()

            async def answer(frame: int, epoch: int, entries: Sequence[TensorEntry], payload: bytes) -> Reply:
                assert line.uplink.on_the_line is None, "it is not sent before"
                if not answers:
                    gone.set()
                    raise LinkLostError("the cable is out")
                return tiny.reply(frame, epoch, tiny.tail(SPLIT, entries, payload))

            active = with_edge_only(await tiny.plan(SPLIT), 60_000.0)
            assert active.parts.rest is not None
            exact = active.parts.rest
            rest = Endless(exact, begun) if answers else Held(exact, begun, gone)
            active = replace(active, parts=replace(active.parts, rest=rest))
            line = Line(tiny, replace(active, plan=replace(active.plan, bandwidth_bps=1e6)), answer)
            line.uplink.on_the_line = Progress(delivered_bytes=0, outstanding_bytes=10**8, waited_s=0.0)
            running = asyncio.create_task(line.give(frames(1)))
            assert await asyncio.to_thread(begun.wait, 10)
            line.uplink.on_the_line = None
            (record,) = await running
            assert_right(record)
            if answers:
                assert (record.ran, record.fallback) == ("split", None)
                assert not line.pipeline.let_down
            else:
                assert (record.ran, record.fallback) == ("edge after cloud", "the cable is out")
                assert line.pipeline.let_down == {LinkLostError.kind: 1}

    run(main())


def test_a_late_frame_is_finished_on_the_edge_too_and_its_answer_still_tells_of_the_link() -> None:
    """The cloud answers only after the record is there: what the edge found counts, and the link is learnt from."""

    async def main() -> None:
        with bench() as tiny:
            recorded = asyncio.Event()

            async def answer(frame: int, epoch: int, entries: Sequence[TensorEntry], payload: bytes) -> Reply:
                await recorded.wait()
                return tiny.reply(frame, epoch, tiny.tail(SPLIT, entries, payload))

            line = Line(tiny, with_edge_only(await tiny.plan(SPLIT), 5.0), answer)
            line.put(frames(1)[0])
            running = asyncio.create_task(line.pipeline.run(1, line.stop))
            await until(lambda: len(line.records) == 1)
            assert line.controller.transfers == []
            recorded.set()
            await until(lambda: len(line.controller.transfers) == 1)
            line.queue.put_nowait(None)
            await running
            (record,) = line.records
            assert_right(record)
            assert record.ran == "edge after cloud"
            assert record.fallback is not None
            assert "the answer was late" in record.fallback

    run(main())


def test_a_frame_whose_bytes_are_nearly_there_is_left_to_the_cloud() -> None:
    """The edge would be later; what the link carries is told all the same, again and again while it is late."""

    async def main() -> None:
        with bench() as tiny:

            async def answer(frame: int, epoch: int, entries: Sequence[TensorEntry], payload: bytes) -> Reply:
                await until(lambda: len(line.controller.slow) >= 2)
                return tiny.reply(frame, epoch, tiny.tail(SPLIT, entries, payload))

            line = Line(tiny, with_edge_only(await tiny.plan(SPLIT), 60.0), answer)
            line.uplink.has_come = Progress(delivered_bytes=900, outstanding_bytes=10, waited_s=0.1)
            (record,) = await line.give(frames(1))
            assert_right(record)
            assert (record.ran, record.fallback) == ("split", None)
            assert set(line.controller.slow) == {line.uplink.has_come}

    run(main())


def test_a_late_frame_whose_last_packet_was_lost_tells_nothing_of_the_link(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All but a packet came at 4 Mbit/s and then nothing: the link is not taken for one of 0.8 Mbit/s, as by then."""

    async def main() -> None:
        with bench() as tiny:
            looks: list[Progress] = []

            async def answer(frame: int, epoch: int, entries: Sequence[TensorEntry], payload: bytes) -> Reply:
                await until(lambda: len(looks) >= 6)
                return tiny.reply(frame, epoch, tiny.tail(SPLIT, entries, payload))

            def look(frame: int, epoch: int) -> Progress:
                looks.append(Progress(36_000, 1_227, waited_s=0.33 + 0.05 * len(looks)))
                return looks[-1]

            line = Line(tiny, with_edge_only(await tiny.plan(SPLIT), 60.0), answer)
            monkeypatch.setattr(line.uplink, "progress", look)
            (record,) = await line.give(frames(1))
            assert_right(record)
            assert (record.ran, record.fallback) == ("split", None)
            assert line.controller.slow == []

    run(main())


def test_a_link_that_has_become_slow_is_told_of_long_before_the_frame_is_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The edge would look after the frame in minutes; what arrives between two looks is told long before."""

    async def main() -> None:
        with bench() as tiny:

            async def answer(frame: int, epoch: int, entries: Sequence[TensorEntry], payload: bytes) -> Reply:
                await until(lambda: line.controller.slow != [])
                return tiny.reply(frame, epoch, tiny.tail(SPLIT, entries, payload))

            looks = (
                Progress(delivered_bytes=20_000 * look, outstanding_bytes=500_000, waited_s=0.1 * look)
                for look in itertools.count()
            )
            line = Line(tiny, with_edge_only(await tiny.plan(SPLIT), 600_000.0), answer)
            monkeypatch.setattr(line.uplink, "progress", lambda frame, epoch: next(looks))
            (record,) = await line.give(frames(1))
            assert_right(record)
            assert (record.ran, record.fallback) == ("split", None)
            (told,) = line.controller.slow
            assert told.delivered_bytes == 20_000
            assert told.bps == pytest.approx(1.6e6)

    run(main())


def test_an_answer_that_comes_while_the_edge_computes_it_too_counts() -> None:
    """Whichever is first: the edge's own run lasts until the cloud has answered, and is ended then."""

    async def main() -> None:
        with bench() as tiny:
            begun = threading.Event()

            async def answer(frame: int, epoch: int, entries: Sequence[TensorEntry], payload: bytes) -> Reply:
                right = tiny.tail(SPLIT, entries, payload)
                assert await asyncio.to_thread(begun.wait, 10)
                return tiny.reply(frame, epoch, right)

            active = with_edge_only(await tiny.plan(SPLIT), 5.0)
            assert active.parts.rest is not None
            rest = Endless(active.parts.rest, begun)
            line = Line(tiny, replace(active, parts=replace(active.parts, rest=rest)), answer)
            (record,) = await line.give(frames(1))
            assert_right(record)
            assert (record.ran, record.fallback) == ("split", None)
            await until(lambda: tiny.compute.idle)
            with pytest.raises(RunCancelledError):
                rest.token.raise_if_cancelled()

    run(main())


@pytest.mark.parametrize("answers", [True, False])
def test_an_edge_that_cannot_finish_a_late_frame_leaves_it_to_the_cloud(answers: bool) -> None:
    """Its memory may be short for a moment: the answer is still on its way; without one the frame has failed."""

    async def main() -> None:
        with bench() as tiny:
            broken = asyncio.Event()
            loop = asyncio.get_running_loop()

            async def answer(frame: int, epoch: int, entries: Sequence[TensorEntry], payload: bytes) -> Reply:
                await broken.wait()
                await until(lambda: tiny.compute.idle)
                if not answers:
                    raise LinkLostError("gone")
                return tiny.reply(frame, epoch, tiny.tail(SPLIT, entries, payload))

            active = with_edge_only(await tiny.plan(SPLIT), 5.0)
            assert active.parts.rest is not None
            rest = Broken(active.parts.rest, lambda: loop.call_soon_threadsafe(broken.set))
            line = Line(tiny, replace(active, parts=replace(active.parts, rest=rest)), answer)
            (record,) = await line.give(frames(1))
            if answers:
                assert_right(record)
                assert (record.ran, record.fallback) == ("split", None)
            else:
                assert record.error is not None
                assert "no memory" in record.error

    run(main())


@dataclass
class Around:
    """A segment that measures and warms as the inner one; what it does with a frame is for each kind to say."""

    inner: CompiledSegment

    @property
    def segment(self) -> Segment:
        return self.inner.segment

    def execute(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return self.inner.execute(inputs)

    def warm(self, inputs: Mapping[str, torch.Tensor]) -> None:
        self.inner.warm(inputs)


@dataclass
class Broken(Around):
    """A segment that cannot run, and says when it was asked to."""

    begun: Callable[[], object]

    def run(
        self, inputs: Mapping[str, torch.Tensor], token: CancelToken | None = None
    ) -> dict[str, torch.Tensor]:
        self.begun()
        raise MemoryError("no memory")


@dataclass
class Held(Around):
    """A segment that says when it has begun, and runs once it may."""

    begun: threading.Event
    may_go_on: threading.Event

    def run(
        self, inputs: Mapping[str, torch.Tensor], token: CancelToken | None = None
    ) -> dict[str, torch.Tensor]:
        self.begun.set()
        assert self.may_go_on.wait(10)
        return self.inner.run(inputs, token)


@dataclass
class Endless(Around):
    """A segment that says when it has begun, and runs until it is told that nobody wants it."""

    begun: threading.Event
    token: CancelToken = field(default_factory=CancelToken)

    def run(
        self, inputs: Mapping[str, torch.Tensor], token: CancelToken | None = None
    ) -> dict[str, torch.Tensor]:
        assert token is not None
        self.token, cancelled = token, threading.Event()
        token.when_cancelled(cancelled.set)
        self.begun.set()
        assert cancelled.wait(10)
        token.raise_if_cancelled()
        raise AssertionError("it was told so, and may not go on")
