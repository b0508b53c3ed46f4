"""Facts about one edge's connection at the cloud, with a real server, model and socket."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from cloud_daemon import session as module
from common import limits
from common.errors import ProbeError
from common.plan import Cut
from common.profile import Profile
from common.wire.messages import (
    Answer,
    Busy,
    Bye,
    Drain,
    Failed,
    Infer,
    Message,
    Ping,
    Pong,
    Prepare,
    Prepared,
    ProbeDenied,
    ProbeGrant,
    ProbeRequest,
    ProfileReply,
    ProfileRequest,
    Refused,
    Welcome,
)
from common.wire.tensors import TensorEntry
from models.profiler import ProfileRun
from tests.cloud_daemon.edge import (
    GRAPH,
    MODEL,
    SPLIT,
    Cloud,
    Edge,
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
            edge.say(hello(protocol=2, weights="0" * 64))
            assert (await edge.hears(Refused)) == Refused(
                kind="protocol", reason="the edge speaks protocol 2, this cloud 1"
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


class Blocked:
    """Holds the cloud's compute thread until released."""

    def __init__(self, rack: Cloud) -> None:
        self._gate = threading.Event()
        self._job = asyncio.ensure_future(rack.pool.compute.run(self._gate.wait, 25.0))

    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *_: object) -> None:
        self._gate.set()
        await self._job


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
                await until(lambda: rack.server._admitted == 2)
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
                await until(lambda: rack.server._admitted == 1)
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
            compiled = session._tails[1].compiled

            def broken(*_: object) -> Any:
                raise RuntimeError("CUDA out of memory\nline two")

            with monkeypatch.context() as patched:
                patched.setattr(compiled, "run", broken)
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
                patched.setattr(rack.pool, "prepare", lambda stage: 1 / 0)
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
                await until(lambda: rack.server._admitted == 4)
                edge.channel.abort()
                await until(lambda: rack.server._admitted == 0)
                assert not rack.server.sessions

    run(main())


# --- plans, profiles, pings -------------------------------------------------------------------------------
def bad_plans() -> dict[str, Prepare]:
    good = prepare(SPLIT, 1).header() | {"epoch": 1}
    index = GRAPH.index

    def plan(**changes: Any) -> Prepare:
        return Prepare(**{**good, **changes})

    return {
        "unit 4000 is not in the graph": plan(units=(4000,)),
        "is not among the units of its segment": plan(outputs=((index["first"], "answer"),)),
        "the plan sends": plan(inputs=(index["first"],)),
        "the plan sends ('first', 'second', 'third')": plan(
            inputs=(index["first"], index["second"], index["third"])
        ),
        "the stage reads": plan(units=(index["classify"], index["answer"])),
    }


@pytest.mark.parametrize("reason", bad_plans())
def test_a_plan_that_cannot_be_is_refused_with_its_reason(tmp_path: Path, reason: str) -> None:
    """The edge keeps its old plan; the connection lives."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edge = await rack.greeted()
            edge.say(bad_plans()[reason])
            prepared = await edge.hears(Prepared)
            assert (prepared.epoch, prepared.ready) == (1, False)
            assert reason in prepared.reason
            edge.infers(1, crossing(SPLIT, jpeg()))
            assert (await edge.hears(Failed)).reason == "epoch 1 is not prepared here"
            assert (await edge.prepares()).ready

    run(main())


@pytest.mark.parametrize(("units", "outputs"), [((), ()), ((4,), ()), ((), ((9, "answer"),))])
def test_an_empty_plan_is_refused(tmp_path: Path, units: Any, outputs: Any) -> None:
    """A stage of nothing, or one that hands nothing on, is none; the connection lives."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edge = await rack.greeted()
            edge.say(Prepare(epoch=1, units=units, inputs=(), outputs=outputs))
            assert not (await edge.hears(Prepared)).ready
            assert (await edge.prepares(epoch=2)).ready

    run(main())


def test_edges_that_ask_together_share_one_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A profile takes a while, and measuring twice at a time would spoil both; later it is on disk."""
    runs: list[ProfileRun] = []
    step = ProfileRun.step

    def counted(self: ProfileRun) -> bool:
        if self.done_steps == 0:
            runs.append(self)
        return step(self)

    monkeypatch.setattr(ProfileRun, "step", counted)

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edges = [await rack.greeted() for _ in range(2)]
            async with Blocked(rack):
                for edge in edges:
                    edge.say(ProfileRequest(), jpeg())
                await until(lambda: rack.pool.compute.waiting > 0)
            profiles = [Profile.from_json(bytes((await edge.event(ProfileReply)).payload)) for edge in edges]
            assert profiles[0] == profiles[1]
            assert set(profiles[0].unit_ms) == set(GRAPH.names)
            assert profiles[0].key.fingerprint == MODEL.fingerprint
            assert len(runs) == 1
            edges[0].say(ProfileRequest(), jpeg(7))  # of the same size
            assert Profile.from_json(bytes((await edges[0].event(ProfileReply)).payload)) == profiles[0]
            assert len(runs) == 1

    run(main())


def test_a_measurement_outlives_the_edge_that_asked(tmp_path: Path) -> None:
    """It is saved for the edge's return."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edge = await rack.greeted()
            async with Blocked(rack):
                edge.say(ProfileRequest(), jpeg())
                await until(lambda: rack.pool.compute.waiting > 0)
                edge.channel.abort()
                await until(lambda: not rack.server.sessions)
            await until(lambda: any(tmp_path.iterdir()))

    run(main())


@pytest.mark.parametrize(
    "frame", [b"", b"no image", jpeg(0, (640, 480))[:4000]], ids=["empty", "text", "torn"]
)
def test_a_frame_that_is_no_image_is_replaced_to_measure_with(tmp_path: Path, frame: bytes) -> None:
    """The edge's first file may be anything; it gets a profile for a usual frame, and keeps its connection."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edge = await rack.greeted()
            edge.say(ProfileRequest(), frame)
            profile = Profile.from_json(bytes((await edge.event(ProfileReply)).payload))
            assert profile.key.frame == "1280x720"

    run(main())


def test_a_profile_that_cannot_be_saved_is_still_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A full or foreign disk costs a measurement at the next start, not the edge its planning."""
    (tmp_path / "file").touch()

    async def main() -> None:
        async with cloud(tmp_path / "file") as rack:
            edge = await rack.greeted()
            edge.say(ProfileRequest(), jpeg())
            assert Profile.from_json(bytes((await edge.event(ProfileReply)).payload)).total_ms > 0
            assert "cannot save the profile" in capsys.readouterr().out

    run(main())


def test_a_ping_is_answered_with_how_it_arrived(tmp_path: Path) -> None:
    """The number comes back; a payload's arrival tells the bandwidth."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edge = await rack.greeted()
            edge.say(Ping(number=41))
            assert await edge.hears(Pong) == Pong(number=41, receive_ms=0.0, spaced_bytes=0)
            edge.say(Ping(number=42), bytes(3_000_000))
            pong = await edge.hears(Pong)
            assert pong.number == 42
            assert 0 < pong.spaced_bytes <= 3_000_000
            assert pong.receive_ms > 0

    run(main())


@pytest.mark.parametrize("message", [Drain(reason="going"), Pong(number=1, receive_ms=0, spaced_bytes=0)])
def test_what_needs_no_answer_gets_none(tmp_path: Path, message: Message) -> None:
    """A draining edge may still ask, and is answered."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edge = await rack.greeted()
            edge.say(message)
            edge.say(Ping(number=1))
            await edge.hears(Pong)

    run(main())


def test_a_bye_ends_in_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An edge that says goodbye is gone, and that is no warning."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edge = await rack.greeted()
            edge.say(Bye(reason="stopping"))
            assert await edge.ended is None
            await until(lambda: not rack.server.sessions)
            said = capsys.readouterr().out
            assert "edge gone" in said
            assert "warning" not in said

    run(main())


def test_an_edge_may_ask_for_a_few_things_at_a_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that asks for plan upon plan without waiting is closed; an honest one beside it is served."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            good, bad = await rack.greeted(), await rack.greeted(edge="garden")
            async with Blocked(rack):
                good.say(prepare(SPLIT, 1))
                for epoch in range(limits.MAX_REQUESTS):
                    bad.say(prepare(SPLIT, epoch))
                bad.say(Ping(number=1))
                await bad.hears(Pong)
                bad.say(prepare(SPLIT, 9))
                await bad.ended
            assert (await good.hears(Prepared)).ready
            assert f"more than {limits.MAX_REQUESTS} requests at a time" in capsys.readouterr().out
            for epoch in range(2 * limits.MAX_REQUESTS):  # one after another there is no end to them
                assert (await good.prepares(SPLIT, epoch)).ready

    run(main())


def test_an_edge_that_stops_reading_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it leaves unread is held for it only so far."""
    monkeypatch.setattr(limits, "MAX_UNSENT_BYTES", 100_000)

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edge = await rack.greeted()
            (session,) = rack.server.sessions
            assert edge.channel._transport is not None
            edge.channel._transport.pause_reading()
            number = 0
            while rack.server.sessions and number < 2_000_000:
                for _ in range(500):
                    number += 1
                    edge.say(Ping(number=number))
                await asyncio.sleep(0)
            assert session.channel.connection.state.name == "CLOSED"
            edge.channel._transport.resume_reading()
            await edge.ended

    run(main())


# --- turns on the iperf3 server ---------------------------------------------------------------------------
def test_a_turn_that_cannot_be_given_is_denied_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The edge measures in another way then; its connection lives."""

    @contextlib.asynccontextmanager
    async def none() -> Any:
        raise ProbeError("the cloud has no iperf3")
        yield

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            monkeypatch.setattr(rack.server.turns, "turn", none)
            edge = await rack.greeted()
            edge.say(ProbeRequest())
            assert (await edge.hears(ProbeDenied)).reason == "the cloud has no iperf3"
            edge.say(Ping(number=1))
            await edge.hears(Pong)

    run(main())


def test_a_turn_ends_after_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An edge that got a turn and does not use it holds it no longer than it may."""
    monkeypatch.setattr(module, "TURN_S", 0.05)
    turns: list[str] = []

    class Endless:
        async def wait(self) -> None:
            await asyncio.get_running_loop().create_future()

    @contextlib.asynccontextmanager
    async def turn() -> Any:
        turns.append("begun")
        yield Endless()
        turns.append("never")

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            monkeypatch.setattr(rack.server.turns, "turn", turn)
            edge = await rack.greeted()
            edge.say(ProbeRequest())
            await edge.event(ProbeGrant)
            (session,) = rack.server.sessions
            await until(lambda: not session._tasks)
            assert turns == ["begun"]
            edge.say(Ping(number=1))
            await edge.hears(Pong)

    run(main())


# --- garbage ----------------------------------------------------------------------------------------------
def test_a_megabyte_of_garbage_harms_nobody_else(tmp_path: Path) -> None:
    """Before or after a greeting, its connection is closed; the session beside it is answered all along."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            good = await rack.greeted()
            await good.prepares()
            garbage = random.Random(0).randbytes(1_000_000)
            for greeted in (False, True):
                bad: Edge = await (rack.greeted() if greeted else rack.connect())
                assert bad.channel._transport is not None
                bad.channel._transport.write(garbage)
                await bad.ended
                good.infers(1, crossing(SPLIT, jpeg()))
                answer, _ = await good.answer()
                assert type(answer) is Answer
            await until(lambda: len(rack.server.sessions) == 1)

    run(main())
