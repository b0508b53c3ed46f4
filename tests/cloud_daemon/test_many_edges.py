"""Facts about many edges, and several models, on one cloud, with real servers, models and sockets."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest
import torch

from cloud_daemon.frame_runner import FrameRunner
from common import limits
from common.plan import Cut
from common.wire.messages import Answer, Busy, Failed, Ping, Pong, Prepared, Refused, Welcome
from models.batch import BatchSegment
from models.compute import ComputeThread
from models.preprocess import as_frame
from tests.cloud_daemon.edge import (
    GRAPH,
    MODEL,
    SPLIT,
    Blocked,
    Cloud,
    Edge,
    cloud,
    crossing,
    hello,
    prepare,
    whole,
)
from tests.event_loop import run, until
from tests.tiny_model import jpeg, tiny_model

ALL_IN_THE_CLOUD = Cut.cloud_only(GRAPH)


def together(rack: Cloud, monkeypatch: pytest.MonkeyPatch, most: int = 4) -> None:
    """Have frames run together whenever several are there, whatever this machine measures just now."""
    for session in rack.server.sessions:
        for tail in session._asked_for.tails.values():
            monkeypatch.setattr(tail.compiled, "best", lambda available, now: min(available, most))


async def prepared(rack: Cloud, count: int, cut: Cut) -> list[Edge]:
    edges = [await rack.greeted(edge=f"edge {i}") for i in range(count)]
    for edge in edges:
        assert (await edge.prepares(cut)).ready
    return edges


@pytest.mark.parametrize(
    "cut", [SPLIT, ALL_IN_THE_CLOUD, Cut.of(GRAPH, ["frame", "decode"])], ids=lambda c: c.label
)
def test_frames_of_several_edges_run_together(
    tmp_path: Path, cut: Cut, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four edges, one batch; each gets the answer to its own frame, of whatever size the image was."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edges = await prepared(rack, 4, cut)
            together(rack, monkeypatch)
            pictures = [jpeg(i, (40 + 8 * i, 30)) for i in range(4)]
            async with Blocked(rack):
                for edge, picture in zip(edges, pictures, strict=True):
                    edge.infers(7, crossing(cut, picture))
                await until(lambda: rack.server.frames_here == 4)
            for edge, picture in zip(edges, pictures, strict=True):
                answer, tensor = await edge.answer()
                assert (answer.frame, answer.batch) == (7, 4)
                torch.testing.assert_close(tensor, whole(picture), rtol=1e-4, atol=1e-6)  # as batches may
                assert answer.queue_ms + answer.tail_ms <= answer.cloud_ms

    run(main())


def test_a_bad_frame_in_a_batch_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its edge is told that the frame is at fault; the others of the batch are answered."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edges = await prepared(rack, 3, ALL_IN_THE_CLOUD)
            together(rack, monkeypatch)
            async with Blocked(rack):
                for edge, data in zip(edges, (jpeg(1), b"no image", jpeg(2)), strict=True):
                    edge.infers(1, {"frame": as_frame(data)})
                await until(lambda: rack.server.frames_here == 3)
            failed = await edges[1].hears(Failed)
            assert failed.frame_at_fault
            for edge, data in ((edges[0], jpeg(1)), (edges[2], jpeg(2))):
                torch.testing.assert_close((await edge.answer())[1], whole(data))

    run(main())


def test_a_bug_costs_the_frames_of_its_batch_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What nobody thought of is logged with its traceback; the thread and the connections go on."""

    def bug(*_: Any) -> Any:
        raise ZeroDivisionError("a bug")

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edges = await prepared(rack, 2, SPLIT)
            with monkeypatch.context() as patched:
                patched.setattr(BatchSegment, "run", bug)
                edges[0].infers(1, crossing(SPLIT, jpeg()))
                assert (await edges[0].hears(Failed)).reason == "ZeroDivisionError: a bug"
            assert "Traceback" in capsys.readouterr().out
            for edge in edges:
                edge.infers(2, crossing(SPLIT, jpeg()))
                await edge.answer()

    run(main())


def test_a_frame_that_waits_makes_room_for_an_edge_with_fewer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two edges fill the cloud; a third still gets its share: the youngest of the longest queue is Busy instead."""
    monkeypatch.setattr(limits, "MAX_CLOUD_QUEUE", 6)

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            one, two, late = await prepared(rack, 3, SPLIT)
            tensors = crossing(SPLIT, jpeg())
            async with Blocked(rack):
                for number in range(4):
                    one.infers(number, tensors)
                await until(lambda: rack.server.frames_here == 4)
                for number in range(2):
                    two.infers(number, tensors)
                await until(lambda: rack.server.frames_here == 6)
                late.infers(0, tensors)
                busy = await one.hears(Busy)
                assert busy.frame == 3
                assert busy.retry_after_ms >= 0
            for edge, count in ((one, 3), (two, 2), (late, 1)):
                assert [(await edge.answer())[0].frame for _ in range(count)] == list(range(count))

    run(main())


def test_the_frames_of_an_edge_that_goes_are_not_run(tmp_path: Path) -> None:
    """They leave the queue with it; the others' are answered."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            going, staying = await prepared(rack, 2, SPLIT)
            async with Blocked(rack):
                for edge in (going, staying):
                    edge.infers(1, crossing(SPLIT, jpeg()))
                await until(lambda: rack.pool.frames.held == 2)
                going.channel.abort()
                await until(lambda: rack.pool.frames.held == 1)
            await staying.answer()

    run(main())


# --- load -------------------------------------------------------------------------------------------------
def test_the_cloud_says_how_busy_it_is_with_others(tmp_path: Path) -> None:
    """An edge's answers tell of others' frames before its own; its pings tell an edge that sends none."""

    async def main() -> None:
        async with cloud(tmp_path, batch_max=1) as rack:
            busy, looking = await prepared(rack, 2, SPLIT)
            looking.say(Ping(number=1))
            assert (await looking.hears(Pong)).wait_ms == 0.0
            tensors = crossing(SPLIT, jpeg())
            turns = rack.pool.frames._scheduler._edges
            for edge in itertools.chain((busy, looking), itertools.repeat(looking)):
                edge.infers(1, tensors)
                assert (await edge.answer())[0].others_ms == 0.0, "it was alone"
                served_s = [turn.served_s for turn in turns.values()]
                if len(served_s) == 2 and served_s[0] < served_s[1]:  # so `busy` comes first now
                    break
            async with Blocked(rack):
                busy.infers(2, tensors)
                busy.infers(3, tensors)
                await until(lambda: rack.server.frames_here == 2)
                for edge, waits in ((looking, True), (busy, False)):
                    edge.say(Ping(number=2))
                    assert ((await edge.hears(Pong)).in_line_ms > 0) is waits
                looking.infers(1, tensors)
                await until(lambda: rack.server.frames_here == 3)
            answer, _ = await looking.answer()
            assert 0 < answer.others_ms <= answer.queue_ms
            await busy.answer()
            await busy.answer()
            looking.say(Ping(number=3))
            pong = await looking.hears(Pong)
            assert (pong.wait_ms, pong.in_line_ms) == (0.0, 0.0)

    run(main())


def test_a_batch_is_waited_for_while_another_edge_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame that is alone waits for one that can be expected, and runs with it as soon as it is there."""
    segment = MODEL.segment(SPLIT.cloud_units, (GRAPH.sink,))

    async def main() -> None:
        from models.executor import TorchExecutor

        frames = FrameRunner(ComputeThread("tail"), batch_max=2, batch_wait_s=20.0)
        try:
            key = BatchSegment(MODEL, TorchExecutor(), segment, 2)
            monkeypatch.setattr(key, "best", lambda available, now: min(available, 2))
            tensors = crossing(SPLIT, jpeg())
            first = await frames.offer("a", key, lambda: tensors, float("inf"))
            assert first.batch == 1, "nobody else has sent anything: no wait"
            waiting = frames.offer("b", key, lambda: tensors, float("inf"))
            await asyncio.sleep(0)
            assert not waiting.done()
            with_it = await frames.offer("a", key, lambda: tensors, float("inf"))
            assert (with_it.batch, (await waiting).batch) == (2, 2)
        finally:
            frames.compute.stop(5.0)

    run(main())


# --- models -----------------------------------------------------------------------------------------------
def test_one_cloud_serves_several_models(tmp_path: Path) -> None:
    """An edge gets the model that it holds, by its fingerprint; each has its own plans and answers."""
    other = tiny_model(1)

    async def main() -> None:
        async with cloud(tmp_path, other) as rack:
            fingerprint = other.fingerprint
            second = await rack.connect()
            second.say(hello(model="tiny 1", weights=fingerprint.weights, graph=fingerprint.graph))
            await second.hears(Welcome)
            first = await rack.greeted()
            for edge in (first, second):
                edge.say(prepare(SPLIT, 1))
                assert (await edge.hears(Prepared)).ready
                edge.infers(1, crossing(SPLIT, jpeg()))
            found = {edge: (await edge.answer())[1] for edge in (first, second)}
            torch.testing.assert_close(found[first], whole(jpeg()))
            assert not torch.allclose(found[second], found[first])

    run(main())


def test_a_model_that_is_not_served_is_refused_with_all_that_are(tmp_path: Path) -> None:
    """Every fingerprint held is in the reason, and in what the nearest one differs."""
    held, asked = tiny_model(1), tiny_model(2)

    async def main() -> None:
        async with cloud(tmp_path, held) as rack:
            edge = await rack.connect()
            edge.say(hello(weights=asked.fingerprint.weights))
            refused = await edge.hears(Refused)
            assert refused.kind == "model"
            assert "(weights differ from tests.tiny_model:factory's)" in refused.reason
            for model in (MODEL, held):
                assert str(model.fingerprint) in refused.reason

    run(main())


def test_frames_of_two_models_never_share_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They wait in one queue and run on one thread, each by itself."""
    other = tiny_model(1)

    async def main() -> None:
        async with cloud(tmp_path, other) as rack:
            first = await rack.greeted()
            second = await rack.greeted(weights=other.fingerprint.weights)
            for edge in (first, second):
                await edge.prepares()
            together(rack, monkeypatch)
            async with Blocked(rack):
                for edge in (first, second, first, second):
                    edge.infers(edge.channel.bytes_out, crossing(SPLIT, jpeg()))
                await until(lambda: rack.server.frames_here == 4)
            answers: list[Answer] = [(await edge.answer())[0] for edge in (first, second, first, second)]
            assert [answer.batch for answer in answers] == [2, 2, 2, 2]

    run(main())
