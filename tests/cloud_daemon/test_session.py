"""Facts about one edge's connection at the cloud, with a real server, model and socket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from common import limits
from common.plan import Cut
from common.wire.messages import (
    PROTOCOL,
    Busy,
    Failed,
    Infer,
    Refused,
    Welcome,
)
from common.wire.tensors import TensorEntry
from tests.cloud_daemon.edge import (
    GRAPH,
    MODEL,
    SPLIT,
    Blocked,
    cloud,
    crossing,
    entry,
    hello,
    prepare,
    whole,
)
from tests.event_loop import LOOPS, run, until
from tests.tiny_model import jpeg, tiny_model

CUTS = [Cut.of(GRAPH, GRAPH.names[:n]) for n in range(1, len(GRAPH))]


# --- greeting ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("loop", LOOPS)
def test_the_same_model_is_welcome(tmp_path: Path, loop: str) -> None:
    """The cloud says who it is, on what it computes, and how many frames an edge may have there."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edge = await rack.connect()
            edge.say(hello())
            welcome = await edge.hears(Welcome)
            assert welcome.cloud == "rack"
            assert welcome.device
            assert welcome.credit == limits.MAX_IN_FLIGHT
            assert len(rack.server.sessions) == 1
            other = await rack.connect()
            other.say(hello(edge="garden"))
            assert (await other.hears(Welcome)).session != welcome.session

    run(main(), loop)


def test_another_model_is_refused_with_both_fingerprints(tmp_path: Path) -> None:
    """Which parts differ, both fingerprints, both names: enough to mend it without guessing."""
    other = tiny_model(1).fingerprint
    assert other.differences(MODEL.fingerprint) == ("weights",)

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edge = await rack.connect()
            edge.say(hello(model="tiny with weights random:1", weights=other.weights))
            refused = await edge.hears(Refused)
            assert refused.kind == "model"
            assert "(weights differ)" in refused.reason
            for part in (str(other), str(MODEL.fingerprint), "tiny with weights random:1", "random:0"):
                assert part in refused.reason
            assert await edge.ended is None
            assert not rack.server.sessions

    run(main())


def test_another_protocol_is_refused_first(tmp_path: Path) -> None:
    """A fingerprint of another protocol's version may mean another thing."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edge = await rack.connect()
            edge.say(hello(protocol=1, weights="0" * 64))
            assert (await edge.hears(Refused)) == Refused(
                kind="protocol", reason=f"the edge speaks protocol 1, this cloud {PROTOCOL}"
            )
            assert await edge.ended is None

    run(main())


# --- frames -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: cut.label)
def test_split_equals_whole_over_the_wire(tmp_path: Path, cut: Cut) -> None:
    """At every cut of the model, from several tensors to the frame itself, the answer is the unsplit model's."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edge = await rack.greeted()
            prepared = await edge.prepares(cut, epoch=5)
            assert (prepared.ready, prepared.epoch) == (True, 5)
            for number in range(3):
                edge.infers(number, crossing(cut, jpeg(number)), epoch=5)
                answer, tensor = await edge.answer()
                assert (answer.frame, answer.epoch) == (number, 5)
                torch.testing.assert_close(tensor, whole(jpeg(number)))
                assert 0 <= answer.tail_ms <= answer.cloud_ms
                assert answer.queue_ms >= 0

    run(main())


def test_frames_of_any_size_may_cross(tmp_path: Path) -> None:
    """The model's own tensors have one shape; the frame and its image have whatever the camera gives."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edge = await rack.greeted()
            await edge.prepares(Cut.cloud_only(GRAPH), 1)
            await edge.prepares(Cut.of(GRAPH, ["frame", "decode"]), 2)
            for size in ((16, 16), (33, 70), (640, 480)):
                for epoch, cut in ((1, Cut.cloud_only(GRAPH)), (2, Cut.of(GRAPH, ["frame", "decode"]))):
                    edge.infers(1, crossing(cut, jpeg(1, size)), epoch)
                    torch.testing.assert_close((await edge.answer())[1], whole(jpeg(1, size)))

    run(main())


def test_a_plan_nobody_prepared_fails_its_frame_only(tmp_path: Path) -> None:
    """After a reconnection an edge may send under an old epoch: that frame fails, the connection lives."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edge = await rack.greeted()
            edge.infers(4, crossing(SPLIT, jpeg()), epoch=9)
            failed = await edge.hears(Failed)
            assert (failed.frame, failed.epoch, failed.frame_at_fault) == (4, 9, False)
            assert failed.reason == "epoch 9 is not prepared here"
            assert (await edge.prepares()).ready

    run(main())


def test_a_session_keeps_the_last_four_plans(tmp_path: Path) -> None:
    """Enough for frames in flight over a change of plan; older ones are forgotten."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edge = await rack.greeted()
            for epoch in range(1, 6):
                assert (await edge.prepares(SPLIT, epoch)).ready
            edge.infers(1, crossing(SPLIT, jpeg()), epoch=1)
            assert (await edge.hears(Failed)).epoch == 1
            for epoch in range(2, 6):
                edge.infers(1, crossing(SPLIT, jpeg()), epoch=epoch)
                assert (await edge.answer())[0].epoch == epoch

    run(main())


def test_a_plan_prepared_again_is_as_young_as_any(tmp_path: Path) -> None:
    """What counts is when a plan was prepared last."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edge = await rack.greeted()
            for epoch in (1, 2, 3, 4, 1, 5):
                assert (await edge.prepares(SPLIT, epoch)).ready
            edge.infers(1, crossing(SPLIT, jpeg()), epoch=1)
            assert (await edge.answer())[0].epoch == 1
            edge.infers(1, crossing(SPLIT, jpeg()), epoch=2)
            assert (await edge.hears(Failed)).epoch == 2

    run(main())


def test_a_plan_in_use_outlives_all_that_are_prepared_meanwhile(tmp_path: Path) -> None:
    """An edge keeps others ready beside the one in force, which may be so for hours."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edge = await rack.greeted()
            for epoch in range(1, 10):
                assert (await edge.prepares(SPLIT, epoch)).ready
                edge.infers(1, crossing(SPLIT, jpeg()), epoch=1)
                assert (await edge.answer())[0].epoch == 1

    run(main())


def test_what_is_no_image_fails_with_the_frame_at_fault(tmp_path: Path) -> None:
    """The edge need not try it again by itself; the frames after it are answered."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edge = await rack.greeted()
            await edge.prepares(Cut.cloud_only(GRAPH))
            for number, data in enumerate((b"no image", jpeg()[:200], b"")):
                edge.infers(number, {"frame": torch.tensor(list(data), dtype=torch.uint8)})
                failed = await edge.hears(Failed)
                assert (failed.frame, failed.frame_at_fault) == (number, True)
            edge.infers(9, crossing(Cut.cloud_only(GRAPH), jpeg()))
            assert (await edge.answer())[0].frame == 9

    run(main())


FIRST = entry("first", "float32", (1, 8, 8, 8))
SECOND = entry("second", "float32", (1, 8, 8, 8))
WRONG_TENSORS: dict[str, tuple[Cut, tuple[TensorEntry, ...]]] = {
    "none": (SPLIT, ()),
    "one is missing": (SPLIT, (FIRST,)),
    "another order": (SPLIT, (SECOND, FIRST)),
    "one too many": (SPLIT, (FIRST, SECOND, entry("add", "float32", (1, 8, 8, 8)))),
    "one twice": (SPLIT, (FIRST, FIRST)),
    "another unit": (SPLIT, (FIRST, entry("add", "float32", (1, 8, 8, 8)))),
    "another type": (SPLIT, (FIRST, entry("second", "int32", (1, 8, 8, 8)))),
    "another shape": (SPLIT, (FIRST, entry("second", "float32", (1, 8, 8, 9)))),
    "a batch of two": (SPLIT, (FIRST, entry("second", "float32", (2, 8, 8, 8)))),
    "another rank": (SPLIT, (FIRST, entry("second", "float32", (8, 8, 8)))),
    "no unit of the graph": (SPLIT, (FIRST, TensorEntry(4000, "uint8", (1,), 1))),
    "a frame of two dimensions": (Cut.cloud_only(GRAPH), (entry("frame", "uint8", (10, 10)),)),
    "a frame of floats": (Cut.cloud_only(GRAPH), (entry("frame", "float32", (10,)),)),
    "an image of one channel": (Cut.of(GRAPH, ["frame", "decode"]), (entry("decode", "uint8", (8, 8, 1)),)),
    "an image of no size": (Cut.of(GRAPH, ["frame", "decode"]), (entry("decode", "uint8", (0, 8, 3)),)),
}


@pytest.mark.parametrize("what", WRONG_TENSORS)
def test_wrong_tensors_close_their_connection_only(
    tmp_path: Path, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tensors that are not the plan's are the edge's error: its connection ends with the reason, others go on."""
    cut, entries = WRONG_TENSORS[what]

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            good, bad = await rack.greeted(), await rack.greeted(edge="garden")
            for edge in (good, bad):
                assert (await edge.prepares(cut)).ready
            capsys.readouterr()
            payload = bytes(sum(one.nbytes + -one.nbytes % 64 for one in entries[:-1]))
            payload += bytes(entries[-1].nbytes) if entries else b""
            bad.say(Infer(frame=1, epoch=1, deadline_ms=1e4, tensors=entries), payload)
            await bad.ended
            await until(lambda: len(rack.server.sessions) == 1)
            said = capsys.readouterr().out
            assert "connection closed by us" in said
            assert "session failed" not in said, "an edge's error is no bug of ours"
            good.infers(2, crossing(cut, jpeg()))
            assert (await good.answer())[0].frame == 2

    run(main())


@pytest.mark.parametrize("nbytes", [0, 4095, 4097])
def test_a_payload_of_another_length_closes_its_connection_only(tmp_path: Path, nbytes: int) -> None:
    """Entries and payload must fit each other to the byte."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            good, bad = await rack.greeted(), await rack.greeted()
            for edge in (good, bad):
                await edge.prepares()
            bad.say(Infer(frame=1, epoch=1, deadline_ms=1e4, tensors=(FIRST, SECOND)), bytes(nbytes))
            await bad.ended
            assert bad.events.empty()
            good.infers(2, crossing(SPLIT, jpeg()))
            await good.answer()

    run(main())


def test_more_frames_than_the_credit_are_not_taken(tmp_path: Path) -> None:
    """The fifth frame in flight is Busy, at once; the four are answered, and then there is room again."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edge = await rack.greeted()
            await edge.prepares()
            tensors = crossing(SPLIT, jpeg())
            async with Blocked(rack):
                for number in range(limits.MAX_IN_FLIGHT + 2):
                    edge.infers(number, tensors)
                for number in (4, 5):
                    busy = await edge.hears(Busy)
                    assert (busy.frame, busy.epoch) == (number, 1)
                    assert busy.retry_after_ms >= 0
            answered = [(await edge.answer())[0].frame for _ in range(limits.MAX_IN_FLIGHT)]
            assert answered == [0, 1, 2, 3]
            edge.infers(9, tensors)
            assert (await edge.answer())[0].frame == 9

    run(main())


def test_a_full_cloud_is_busy_for_everybody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many edges there are, the frames a cloud holds are bounded."""
    monkeypatch.setattr(limits, "MAX_CLOUD_QUEUE", 3)

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            one, two = await rack.greeted(), await rack.greeted()
            tensors = crossing(SPLIT, jpeg())
            for edge in (one, two):
                await edge.prepares()
            async with Blocked(rack):
                for number in range(2):
                    one.infers(number, tensors)
                await until(lambda: rack.server.frames_here == 2)
                two.infers(0, tensors)
                two.infers(1, tensors)
                assert (await two.hears(Busy)).frame == 1
            await one.answer()
            await one.answer()
            await two.answer()

    run(main())


def test_a_frame_whose_edge_no_longer_waits_is_not_computed(tmp_path: Path) -> None:
    """Past its deadline it is dropped without a word, and its place is free."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edge = await rack.greeted()
            await edge.prepares()
            tensors = crossing(SPLIT, jpeg())
            async with Blocked(rack):
                edge.infers(1, tensors, deadline_ms=0.0)
                await until(lambda: rack.server.frames_here == 1)
            edge.infers(2, tensors)
            assert (await edge.answer())[0].frame == 2

    run(main())


def test_a_tail_that_fails_fails_its_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of memory, say: that frame is told so, for its edge to finish; the connection lives."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edge = await rack.greeted()
            await edge.prepares()
            (session,) = rack.server.sessions
            compiled = session._asked_for.tails[1].compiled

            def broken(*_: object) -> Any:
                raise RuntimeError("CUDA out of memory\nline two")

            with monkeypatch.context() as patched:
                patched.setattr(compiled, "_network", broken)
                edge.infers(1, crossing(SPLIT, jpeg()))
                failed = await edge.hears(Failed)
            assert (failed.frame, failed.frame_at_fault) == (1, False)
            assert failed.reason == "the tail failed: CUDA out of memory line two"
            edge.infers(2, crossing(SPLIT, jpeg()))
            await edge.answer()

    run(main())


def test_a_bug_ends_its_session_and_not_the_cloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What nobody thought of is logged with its traceback, and costs one connection."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            good, bad = await rack.greeted(), await rack.greeted()
            await good.prepares()
            with monkeypatch.context() as patched:
                patched.setattr(rack.pool, "prepare", lambda *_: 1 / 0)
                bad.say(prepare(SPLIT, 1))
                await bad.ended
            assert "ZeroDivisionError" in capsys.readouterr().out
            good.infers(1, crossing(SPLIT, jpeg()))
            await good.answer()

    run(main())


def test_an_edge_that_goes_takes_its_work_with_it(tmp_path: Path) -> None:
    """Frames that nobody waits for any more leave the queue."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edge = await rack.greeted()
            await edge.prepares()
            async with Blocked(rack):
                for number in range(4):
                    edge.infers(number, crossing(SPLIT, jpeg()))
                await until(lambda: rack.server.frames_here == 4)
                edge.channel.abort()
                await until(lambda: rack.server.frames_here == 0)
                assert not rack.server.sessions

    run(main())
